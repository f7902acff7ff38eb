BASE = "qcow2 4M | write -P 1 0 1M | write -P 2 3M 100K"
TOP = "-b b -F qcow2 4M | write -P 3 512K 1M | write -z 0 128K | write -P 4 3900K 30K"
Q = {"b": BASE, "a": "qcow2 " + TOP}
RAW = {"b": "4M 0+1M 2M+100K", "a": "qcow2 -b b -F raw 4M | write -P 3 512K 1M | write -z 0 128K | write -P 4 3900K 30K"}
CHAIN = {
    "c": "qcow2 4M | write -P 1 0 1M",
    "b": "qcow2 -b c -F qcow2 4M | write -P 2 512K 1M | write -z 2M 64K",
    "a": "qcow2 -b b -F qcow2 4M | write -P 3 768K 64K | write -z 0 128K | write -P 4 3900K 30K",
}
AFTER = ["info a", "info b", "check -q a"]
OPTIONS = (
    "", "-o cluster_size=512", "-o cluster_size=4k", "-o cluster_size=2M", "-o refcount_bits=1", "-o refcount_bits=64",
    "-o extended_l2=on", "-o lazy_refcounts=on", "-o compression_type=zstd", "-o compat=0.10",
)
SIZES = ("512", "64K", "1M", "1000K", "2M", "3M", "3999K", "4M", "5M", "6000K", "64M", "10G")
WRITE = "write -P 5 0 512"


def top(options, size="4M", writes=("write -P 3 512K 1M", "write -z 0 128K", "write -P 4 3900K 30K")):
    return " | ".join([f"qcow2 {options} -b b -F qcow2 {size}", *writes])


CASES = (
    [(f"commit/top_{options or 'default'}", {"b": BASE, "a": top(options)}, ["commit a", *AFTER]) for options in OPTIONS]
    + [
        (f"commit/base_{options or 'default'}", {"b": BASE.replace("qcow2", "qcow2 " + options, 1), "a": top("")},
         ["commit a", "info b", "check -q a", "check -q b"])
        for options in OPTIONS if options != "-o refcount_bits=1"
    ]
    + [(f"commit/size_{size}", {"b": BASE, "a": top("", size, [WRITE])}, ["commit a", *AFTER]) for size in SIZES]
    + [
        (f"commit/size_raw_{size}", {"b": RAW["b"], "a": f"qcow2 -b b -F raw {size} | {WRITE}"}, ["commit a", *AFTER])
        for size in SIZES[:-1]
    ]
    + [
        # A longer image below must not show through where the base grows.
        (f"commit/deep_size_{size}",
         {"c": "qcow2 8M | write -P 9 0 8M", "b": "qcow2 -b c -F qcow2 2M | write -P 1 1M 64K", "a": top("", size, [WRITE])},
         ["commit a", *AFTER])
        for size in ("1M", "2M", "2100K", "6M", "9M")
    ]
    + [
        (f"commit/{name}_{n}", CHAIN, [f"commit {words} a", *AFTER, "check -q b", "check -q c"])
        for name, all_words in (
            ("chain", ("", "-d", "-b b", "-b c", "-b ./c", "-b b -d", "-d -b c", "-b x", "-b a", "-b ''", "-b .", "-b b -b c", "-b c -b b")),
        )
        for n, words in enumerate(all_words)
    ]
    + [
        ("commit/middle", CHAIN, ["commit b", "commit a", *AFTER, "check -q c"]),
        ("commit/twice", Q, ["commit a", "commit a", *AFTER]),
        ("commit/quiet", Q, ["commit -q a", *AFTER]),
        ("commit/drop", Q, ["commit -d a", *AFTER]),
        ("commit/raw", RAW, ["commit a", *AFTER]),
        ("commit/raw_drop", RAW, ["commit -d a", *AFTER]),
        ("commit/progress", Q, ["commit -p a"]),
        ("commit/progress_quiet", Q, ["commit -p -q a"]),
        ("commit/progress_error", Q, ["commit -p -b x a", "commit -p b", "commit -p x", "commit -p -t x a"]),
        ("commit/format", Q, ["commit -f qcow2 a", *AFTER]),
        ("commit/format_wrong", Q, ["commit -f raw a", "commit -f x a", "commit -f raw b"]),
        ("commit/format_empty", Q, ["commit -f '' a"]),
        ("commit/not_qcow2", RAW, ["commit -f qcow2 b", "commit -f raw b", "commit b"]),
        ("commit/rate", Q, ["commit -r 100M a", *AFTER]),
        ("commit/rate_zero", Q, ["commit -r 0 a", *AFTER]),
        ("commit/rate_wrong", Q, ["commit -r x a", "commit -r -1 a", "commit -r '' a", "commit -r 9E a", "commit -r 1X a", "commit -r"]),
        ("commit/no_backing", {"a": BASE}, ["commit a", "commit -b b a", "commit -d a", *AFTER[:1]]),
        ("commit/operands", Q, ["commit", "commit a b", "commit -d", "commit -- a", "commit a -d"]),
        ("commit/unknown", Q, ["commit -Z a", "commit --nope a", "commit -U a", "commit -b", "commit -t", "commit -f"]),
        ("commit/missing", {}, ["commit a", "commit ''", "commit -f qcow2 a"]),
        ("commit/missing_backing", {"a": "qcow2 -u -b b -F qcow2 1M"}, ["commit a", "commit -b b a"]),
        ("commit/folder", {"a": "dir"}, ["commit -f raw a"]),
        ("commit/link", Q | {"l": "-> a"}, ["commit l", *AFTER]),
        ("commit/base_by_link", CHAIN | {"l": "-> c"}, ["commit -b l a", *AFTER]),
        ("commit/snapshots", Q, ["snapshot -c one a", "commit a", *AFTER, "snapshot -a one a", "info a", "check -q a"]),
        ("commit/snapshots_of_base", Q, ["snapshot -c one b", "commit a", *AFTER, "snapshot -a one b", "check -q b"]),
        ("commit/bitmaps", Q, ["bitmap --add a x", "bitmap --add --disable a y", "commit a", "info a", "check -q a"]),
        ("commit/bitmaps_of_base", Q, ["bitmap --add b x", "commit a", "info b", "check -q b"]),
        ("commit/data_file", {"b": BASE, "a": top("-o data_file=d")}, ["commit a", "info a", "check -q a"]),
        ("commit/data_file_drop", {"b": BASE, "a": top("-o data_file=d")}, ["commit -d a", "info a", "check -q a"]),
        ("commit/data_file_of_base", {"b": BASE.replace("qcow2", "qcow2 -o data_file=e", 1), "a": top("")}, ["commit a", "info b", "check -q b"]),
        ("commit/raw_data_file_of_base", {"b": BASE.replace("qcow2", "qcow2 -o data_file=e,data_file_raw=on", 1), "a": top("")},
         ["commit a", "info b", "check -q b"]),
        ("commit/compressed", {"s": "4M 0+1M=3", "b": BASE, "a": "qcow2 4M"},
         ["convert -c -O qcow2 s z", "rebase -u -b b -F qcow2 z", "commit z", "info z", "check -q z", "compare s b"]),
        ("commit/empty_overlay", {"b": BASE, "a": "qcow2 -b b -F qcow2 4M"}, ["commit a", *AFTER]),
        ("commit/empty_disk", {"b": "qcow2 0", "a": "qcow2 -b b -F qcow2 0"}, ["commit a", "info a", "check -q a"]),
        ("commit/all_zero", {"b": BASE, "a": "qcow2 -b b -F qcow2 4M | write -z 0 4M"}, ["commit a", *AFTER]),
        ("commit/odd_raw", {"b": "100000 0+100000", "a": "qcow2 -b b -F raw 100352 | write -P 7 97K 1K"}, ["commit a", *AFTER]),
        ("commit/subclusters", {"b": BASE, "a": top("-o extended_l2=on", "4M", ["write -P 3 2K 2K", "write -z 70K 4K", "write -P 3 3M 1K"])},
         ["commit a", *AFTER]),
    ]
    + [(f"commit/cache_{mode or 'empty'}", Q, [f"commit -t '{mode}' a", "info b"])
       for mode in ("none", "off", "directsync", "writeback", "writethrough", "unsafe", "x", "")]
)
