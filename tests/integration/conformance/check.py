RAW = {"a": "64K 0+4K"}
Q = {"a": "qcow2 8M"}

CASES = (
    [
        (f"check/{name}{suffix}", files, [f"check {options}a"])
        for name, files in (("raw", RAW), ("qcow2", Q))
        for suffix, options in (
            ("", ""), ("_quiet", "-q "), ("_json", "--output=json "), ("_leaks", "-r leaks "), ("_all", "-r all "),
            ("_all_json", "-r all --output=json "), ("_all_quiet", "-q -r all "), ("_shared", "-U "),
        )
    ]
    + [
        (f"check/cache_{mode}", Q, [f"check -T {mode} a", f"check -r all -T {mode} a"])
        for mode in ("none", "off", "writeback", "writethrough", "directsync", "unsafe", "bogus", "''")
    ]
    + [
        ("check/long_repair", Q, ["check --repair=leaks a", "check --repair all a", "check --rep=all a"]),
        ("check/repair_unknown", Q, ["check -r some a", "check -r '' a", "check -r all -r some a"]),
        ("check/repair_missing", Q, ["check a -r"]),
        ("check/repair_twice", Q, ["check -r all -r leaks a", "check -r leaks -r all a"]),
        ("check/repair_shared", Q, ["check -U -r all a", "check -r leaks --force-share a"]),
        ("check/output_unknown", Q, ["check --output=xml a", "check --output= a"]),
        ("check/output_human", Q, ["check --output=human a", "check --output=json --output=human a"]),
        ("check/format_raw", Q, ["check -f raw a", "check --format=raw a", "check -f raw -r all a"]),
        ("check/format_qcow2", Q, ["check -f qcow2 a", "check --format=qcow2 --output=json a"]),
        ("check/format_wrong", RAW, ["check -f qcow2 a"]),
        ("check/format_unknown", Q, ["check -f nosuch a"]),
        ("check/no_operands", {}, ["check", "check -r all"]),
        ("check/two_operands", Q, ["check a a"]),
        ("check/unknown_option", Q, ["check -p a", "check --nosuch a"]),
        ("check/missing_file", {}, ["check a", "check -q a", "check -r all a", "check --output=json a"]),
        ("check/folder", {"a": "dir"}, ["check a"]),
        ("check/empty_file", {"a": "0"}, ["check a", "check -f qcow2 a"]),
        ("check/operand_first", Q, ["check a -q --output=json", "check a -r leaks"]),
        ("check/file_prefix", Q, ["check file:a", "check --output=json file:a"]),
        ("check/name_dash", {"-a": "qcow2 1M"}, ["check -- -a", "check ./-a"]),
        ("check/link", {"t": "qcow2 1M", "a": "-> t"}, ["check a"]),
        ("check/name_odd", {'a "b': "qcow2 1M"}, [["check", "--output=json", 'a "b']]),
        ("check/empty_disk", {"a": "qcow2 0"}, ["check a", "check --output=json a"]),
        ("check/huge_disk", {"a": "qcow2 16T"}, ["check a", "check --output=json a"]),
    ]
)
