LAYOUTS = {
    "empty": "0",
    "one_byte": "1 0+1",
    "hole": "1M",
    "data": "64K 0+64K",
    "data_first": "1M 0+4K",
    "data_last": "1M 1020K+4K",
    "alternating": "64K 4K+4K 12K+4K 20K+8K 40K+4K 60K+4K",
    "zero_data": "64K 0+16K=0 32K+4K",
    "size_511": "511 0+511",
    "size_513_hole": "513",
    "size_1000": "1000 0+1000",
    "size_4097": "4097 0+4097",
    "size_4097_hole": "4097",
    "size_5000_data_hole": "5000 0+10",
    "size_odd_end": "1050000 0+4K 1048576+100",
    "big_hole": "10T 0+4K 5T+4K",
}
L = {"a": LAYOUTS["alternating"]}

CASES = (
    [(f"map/{name}", {"a": layout}, ["map a", "map --output=json a"]) for name, layout in LAYOUTS.items()]
    + [
        (
            f"map/range_{start}_{length}",
            L,
            [f"map -s {start} -l {length} a", f"map --output=json --start-offset={start} --max-length={length} a"],
        )
        for start, length in (
            (0, 0), (0, 512), (0, "4K"), ("4K", "4K"), ("4K", "8K"), ("6K", "4K"), (512, "16K"),
            (100, 1000), (4095, 2), (1, "64K"), ("60K", "4K"), ("60K", "1G"), ("64K", 0), ("64K", 1),
            ("1M", "1M"), ("8E", 1), (0, "7E"), ("1.5k", "1.5k"), ("0x1000", "0x1000"),
        )
    ]
    + [
        ("map/start_only", L, ["map -s 20K a", "map --output=json -s 64K a", "map --output=json -s 1G a"]),
        ("map/length_only", L, ["map -l 20K a", "map --output=json -l 1 a"]),
        ("map/start_odd_file", {"a": "1000 0+1000"}, ["map --output=json -s 999 a", "map --output=json -s 1000 a", "map --output=json -s 1024 a"]),
        ("map/start_bad", L, ["map -s x a"]),
        ("map/start_negative", L, ["map -s -1 a", "map --start-offset=-1 a"]),
        ("map/start_too_large", L, ["map -s 16E a"]),
        ("map/length_bad", L, ["map -l x a"]),
        ("map/length_negative", L, ["map -l -1 a"]),
        ("map/start_missing", L, ["map a -s"]),
        ("map/format_raw", L, ["map -f raw a", "map --format=raw a"]),
        ("map/format_unknown", L, ["map -f nosuch a"]),
        ("map/force_share", L, ["map -U a"]),
        ("map/abbreviated", L, ["map --out=json --max=8k --start=4k a"]),
        ("map/output_unknown", L, ["map --output=xml a"]),
        ("map/no_operands", {}, ["map"]),
        ("map/two_operands", L, ["map a a"]),
        ("map/unknown_option", L, ["map -q a"]),
        ("map/missing_file", {}, ["map a", "map --output=json a"]),
        ("map/folder", {"a": "dir"}, ["map a"]),
        ("map/file_prefix", L, ["map file:a", "map --output=json file:a"]),
        ("map/name_dash", {"-a": "8K 0+4K"}, ["map -- -a"]),
        ("map/name_space_newline", {"a b\nc": "8K 0+4K"}, [["map", "a b\nc"], ["map", "--output=json", "a b\nc"]]),
        ("map/name_long", {"n" * 255: "8K 0+4K"}, ["map " + "n" * 255]),
        ("map/link", {"t": "8K 0+4K", "a": "-> t"}, ["map a"]),
        ("map/absolute_colon", {"x:y": "8K 0+4K"}, ["map ./x:y", "map x:y"]),
    ]
)
