Q = {"a": "qcow2 1M"}
RAW = {"a": "64K 0+4K"}
# Each is written into a by qemu-img's or platter's convert, so that enabled bitmaps have something to record.
DATA = {"s": "1M 0+200K 500K+100K", "t": "1M 100K+200K=2 900K+100K=3"}
FILL = "convert -n -O qcow2 s a"
INFO = "info a"
CHECK = "check -q a"
OPTIONS = (
    "", "-o cluster_size=512", "-o cluster_size=4k", "-o cluster_size=2M", "-o refcount_bits=1", "-o refcount_bits=64",
    "-o extended_l2=on", "-o lazy_refcounts=on", "-o preallocation=metadata", "-o compression_type=zstd", "-o data_file=d",
    "-o data_file=d,data_file_raw=on",
)
GRANULARITIES = (
    "512", "1k", "4096", "64k", "128K", "1M", "2G", "4G", "511", "513", "3k", "0", "256", "-1", "1.5k", "x", "''", "0x1000", "64kk",
    "8E", "16E", "1T",
)


def on(options, size="1M"):
    return {"a": f"qcow2 {options} {size}"} | DATA


CASES = (
    [(f"bitmap/add_{options or 'default'}", on(options), ["bitmap --add a b", INFO, CHECK]) for options in OPTIONS]
    + [
        (f"bitmap/record_{options or 'default'}", on(options),
         ["bitmap --add a b", FILL, INFO, CHECK, "bitmap --clear a b", "bitmap --disable a b", "convert -n -O qcow2 t a", INFO, CHECK])
        for options in OPTIONS
    ]
    + [
        (f"bitmap/remove_{options or 'default'}", on(options),
         ["bitmap --add a b", "bitmap --add a c", FILL, "bitmap --remove a b", INFO, "bitmap --remove a c", INFO, CHECK])
        for options in OPTIONS
    ]
    + [(f"bitmap/granularity_{value}", Q, [f"bitmap --add -g {value} a b", INFO]) for value in GRANULARITIES]
    + [(f"bitmap/granularity_long_{value}", Q, [f"bitmap --add --granularity={value} a b", INFO]) for value in ("32k", "0", "x")]
    + [
        ("bitmap/no_action", Q, ["bitmap a b", "bitmap", "bitmap a", "bitmap --add", "bitmap --add a", "bitmap --add a b c"]),
        ("bitmap/names", Q, ["bitmap --add a ''", "bitmap --add a 'ä b'", "bitmap --add a " + "n" * 1023, "bitmap --add a " + "n" * 1024,
                             INFO]),
        ("bitmap/name_long", Q, ["bitmap --add a " + "n" * 1024, "bitmap --remove a " + "n" * 1024]),
        ("bitmap/twice", Q, ["bitmap --add a b", "bitmap --add a b", INFO]),
        ("bitmap/many", Q, [f"bitmap --add a b{i}" for i in range(20)] + [INFO, CHECK]),
        ("bitmap/missing", Q, [f"bitmap --{action} a b" for action in ("remove", "clear", "enable", "disable")]
         + ["bitmap --merge c a b", INFO]),
        ("bitmap/missing_file", {}, ["bitmap --add a b", "bitmap --remove a b", "bitmap --merge c a b"]),
        ("bitmap/folder", {"a": "dir"}, ["bitmap --add a b"]),
        ("bitmap/version_2", {"a": "qcow2 -o compat=0.10 1M"}, ["bitmap --add a b", "bitmap --remove a b", INFO]),
        ("bitmap/raw", RAW, ["bitmap --add a b", "bitmap --add -f raw a b", "bitmap --remove -f raw a b", "bitmap --clear -f raw a b",
                             "bitmap --merge c -f raw a b"]),
        ("bitmap/format", Q, ["bitmap --add -f qcow2 a b", "bitmap --add -f raw a c", "bitmap --add -f nope a c", INFO]),
        ("bitmap/disabled", on(""), ["bitmap --add --disable a b", FILL, INFO, "bitmap --enable a b", "convert -n -O qcow2 t a", INFO,
                                     CHECK]),
        ("bitmap/enable_twice", Q, ["bitmap --add a b", "bitmap --enable a b", "bitmap --disable a b", "bitmap --disable a b", INFO]),
        ("bitmap/all_in_one", on(""), ["bitmap --add --disable --enable --clear a b", FILL, INFO]),
        ("bitmap/add_remove", Q, ["bitmap --add --remove a b", INFO, CHECK]),
        ("bitmap/remove_add", Q, ["bitmap --add a b", "bitmap --remove --add a b", INFO, CHECK]),
        ("bitmap/remove_missing_after_add", Q, ["bitmap --add --remove --remove a b", INFO]),
        ("bitmap/failing_second", Q, ["bitmap --add --merge c a b", INFO, "bitmap --merge c --add a d", INFO]),
        ("bitmap/merge", on(""), ["bitmap --add a b", "bitmap --add -g 4k a c", FILL, "bitmap --add a d", "bitmap --merge c a d", INFO,
                                  "bitmap --clear a d", "bitmap --merge c --merge b a d", INFO, CHECK]),
        ("bitmap/merge_itself", on(""), ["bitmap --add a b", FILL, "bitmap --merge b a b", INFO]),
        ("bitmap/merge_finer_into_coarser", on(""), ["bitmap --add -g 4k a b", FILL, "bitmap --add -g 256k a c", "bitmap --merge b a c",
                                                     INFO]),
        ("bitmap/merge_coarser_into_finer", on(""), ["bitmap --add -g 256k a b", FILL, "bitmap --add -g 4k a c", "bitmap --merge b a c",
                                                     INFO]),
        ("bitmap/merge_other_image", on("") | {"e": "qcow2 1M"},
         ["bitmap --add a b", FILL, "bitmap --add --disable e c", "bitmap --merge b -b a -F qcow2 e c", "bitmap --merge b -b a e c",
          "bitmap --merge x -b a e c", "bitmap --merge b -b nope e c", "bitmap --merge b -b s e c", "bitmap --merge b -b s -F raw e c",
          "info e"]),
        ("bitmap/merge_other_size", on("") | {"e": "qcow2 2M"}, ["bitmap --add a b", "bitmap --add e c", "bitmap --merge b -b a -F qcow2 e c",
                                                                 "info e"]),
        ("bitmap/source_without_merge", Q, ["bitmap --add -b a a b", "bitmap --add -F qcow2 a b", "bitmap --merge c -F qcow2 a b",
                                            "bitmap --remove -g 4k a b", INFO]),
        ("bitmap/unknown_option", Q, ["bitmap --nope a b", "bitmap -Z a b", "bitmap --add=1 a b", "bitmap --merge", "bitmap -g"]),
        ("bitmap/abbreviated", Q, ["bitmap --ad a b", "bitmap --dis a b", INFO, "bitmap --rem a b", "bitmap --e a b", INFO]),
        ("bitmap/snapshots", on(""), ["bitmap --add a b", FILL, "snapshot -c one a", "snapshot -a one a", "snapshot -d one a", INFO, CHECK]),
        ("bitmap/resize", on(""), ["bitmap --add a b", FILL, "resize a 2M", INFO, "resize --shrink a 512K", INFO, CHECK]),
        ("bitmap/resize_disabled", on(""), ["bitmap --add a b", FILL, "bitmap --disable a b", "resize a 3M", INFO, CHECK]),
        ("bitmap/odd_size", {"a": "qcow2 1000K"} | DATA, ["bitmap --add -g 64k a b", "bitmap --add -g 512 a c", INFO, CHECK]),
        ("bitmap/empty_disk", {"a": "qcow2 0"}, ["bitmap --add a b", INFO]),
        ("bitmap/large_disk", {"a": "qcow2 1T"}, ["bitmap --add a b", INFO, CHECK]),
        ("bitmap/over_backing", {"s": DATA["s"], "a": "qcow2 -b s -F raw 1M"}, ["bitmap --add a b", INFO, CHECK, "bitmap --remove a b", INFO]),
        ("bitmap/check_repair", on(""), ["bitmap --add a b", FILL, "check -q -r all a", INFO]),
        ("bitmap/compare", on(""), ["bitmap --add a b", FILL, "compare a s"]),
    ]
)
