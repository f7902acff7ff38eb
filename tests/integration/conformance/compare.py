TWO = {"a": "64K 0+4K 32K+4K", "b": "64K 0+4K 32K+4K"}
HOLE_OR_ZERO = {"a": "64K 0+4K", "b": "64K 0+4K 8K+8K=0"}
DIFFER = {"a": "64K 0+4K 32K+4K", "b": "64K 0+4K 32K+4K=2"}
LONGER = {"a": "64K 0+4K", "b": "128K 0+4K"}
LONGER_DATA = {"a": "64K 0+4K", "b": "128K 0+4K 96K+4K"}

CASES = (
    [
        (f"compare/{name}{suffix}", files, [f"compare {options}{pair}" for pair in ("a b", "b a", "a a")])
        for suffix, options in (("", ""), ("_strict", "-s "), ("_quiet", "-q "), ("_progress", "-p "), ("_strict_progress", "-sp "))
        for name, files in (
            ("equal", TWO), ("hole_or_zero", HOLE_OR_ZERO), ("differ", DIFFER), ("longer", LONGER), ("longer_data", LONGER_DATA),
        )
    ]
    + [
        (f"compare/pair_{number}", {"a": a, "b": b}, ["compare a b", "compare b a", "compare -s a b"])
        for number, (a, b) in enumerate(
            [
                ("0", "0"), ("0", "1"), ("0", "1 0+1"), ("1000", "1024"), ("1000 0+1000", "1024 0+1000"),
                ("511 0+511", "512 0+512"), ("4097 0+4097", "4097 0+4096"), ("4097 0+4097", "8K 0+4097"),
                ("64K 100+10", "64K 100+10=2"), ("64K 0+4K", "64K 0+4K 63K+1"), ("1M 1000+1", "1M"),
                ("3M 0+3M", "3M 0+2M 2M+1M=2"), ("3M 0+3M", "3M 0+2097000 2097000+552=2 2097552+1048176"),
                ("10T", "10T 5T+1"), ("10T", "10T 5T+4K=0"), ("10G 1G+4K", "11G 1G+4K"), ("64K 0+64K", "64K"),
            ]
        )
    ]
    + [
        (f"compare/cache_{mode}", TWO, [f"compare -T {mode} a b"])
        for mode in ("none", "off", "writeback", "writethrough", "directsync", "unsafe", "bogus", "''")
    ]
    + [
        ("compare/formats", TWO, ["compare -f raw -F raw a b", "compare -f raw a b", "compare -F raw a b"]),
        ("compare/format_unknown", TWO, ["compare -f nosuch a b", "compare -F nosuch a b"]),
        ("compare/force_share", TWO, ["compare -U a b", "compare --force-share a b", "compare --force a b"]),
        ("compare/no_operands", {}, ["compare"]),
        ("compare/one_operand", TWO, ["compare a"]),
        ("compare/three_operands", TWO, ["compare a b a"]),
        ("compare/unknown_option", TWO, ["compare -Z a b", "compare --nosuch a b"]),
        ("compare/missing_argument", TWO, ["compare a b -f"]),
        ("compare/first_missing", {"b": "1K"}, ["compare a b", "compare -q a b"]),
        ("compare/second_missing", {"a": "1K"}, ["compare a b"]),
        ("compare/both_missing", {}, ["compare a b"]),
        ("compare/missing_progress", {"a": "1K"}, ["compare -p a b", "compare -p b a", "compare -p b c", "compare -qp a b", "compare -p a",
                                                   "compare -p -T bogus a a", "compare -T bogus a", "compare -p -f nosuch a a", "compare -p -F qcow2 a a"]),
        ("compare/folder", {"a": "dir", "b": "1K"}, ["compare a b", "compare b a"]),
        ("compare/file_prefix", TWO, ["compare file:a file:b"]),
        ("compare/quiet_progress", TWO, ["compare -q -p a b"]),
        ("compare/dash_names", {"-a": "1K", "-b": "1K"}, ["compare -- -a -b"]),
        ("compare/larger_progress", {"a": "20M 0+20M", "b": "20M 0+20M"}, ["compare a b"]),
    ]
)
