Q = {"a": "qcow2 1M"}
RAW = {"a": "64K 0+4K"}
# s and t are written into a, one after the other, so that snapshots hold something of their own.
DATA = {"s": "1M 0+200K 500K+100K", "t": "1M 100K+200K=2 900K+100K=3"}
FILL = ["convert -n -O qcow2 s a", "snapshot -c one a", "convert -n -O qcow2 t a", "snapshot -c two a"]
LIST = "snapshot -l a"
OPTIONS = (
    "", "-o cluster_size=512", "-o cluster_size=2M", "-o refcount_bits=2,cluster_size=4k", "-o refcount_bits=8",
    "-o refcount_bits=64", "-o compat=0.10", "-o extended_l2=on", "-o lazy_refcounts=on", "-o preallocation=metadata",
    "-o compression_type=zstd",
)


def on(options, size="1M"):
    return {"a": f"qcow2 {options} {size}"} | DATA


PARAMETERS = (
    "one", "1", "two", "2", "nope", "''", "snapshot", "id=1", "snapshot.id=1", "snapshot.id=3", "snapshot.id=one",
    "snapshot.name=two", "snapshot.name=1", "snapshot.name=", "snapshot.id=1,snapshot.name=one",
    "snapshot.name=two,snapshot.id=2", "snapshot.id=2,snapshot.name=one", "snapshot.id=1,snapshot.id=2",
    "snapshot.nosuch=1", "snapshot.id=1,x=1", "snapshot.id=2,,3",
)

CASES = (
    [
        (f"snapshot/sequence_{options or 'default'}", on(options),
         [*FILL, LIST, "snapshot -a one a", "check -q a", "snapshot -d one a", "check -q a", LIST, "snapshot -a two a",
          "snapshot -d two a", LIST, "check -q a"])
        for options in OPTIONS if "refcount_bits=2," not in options
    ]
    + [(f"snapshot/take_{options or 'default'}", on(options), [*FILL, LIST]) for options in OPTIONS]
    + [
        (f"snapshot/delete_{which}_{options or 'default'}", on(options), [*FILL, f"snapshot -d {which} a", LIST])
        for which in ("one", "two") for options in OPTIONS
    ]
    + [(f"snapshot/convert_{what}", on(""), [*FILL, f"convert -l {what} a u"]) for what in PARAMETERS]
    + [
        (f"snapshot/convert_{options or 'default'}", on(options),
         [*FILL, "convert -l one a u", "convert -l 2 a v", "convert -l one -O qcow2 a w"])
        for options in OPTIONS
    ]
    + [
        ("snapshot/no_action", Q, ["snapshot a", "snapshot -q a"]),
        ("snapshot/list_none", Q, [LIST, "snapshot -l -q a", "snapshot -U -l a"]),
        ("snapshot/list_flags", Q, ["snapshot -c one a", "snapshot -l -q a", "snapshot -lU a", "snapshot a -l"]),
        ("snapshot/quiet", Q, ["snapshot -q -c one a", "snapshot -q -a one a", "snapshot -q -d one a", "snapshot -q -d one a"]),
        ("snapshot/ids", Q, ["snapshot -c one a", "snapshot -c two a", "snapshot -d one a", "snapshot -c three a",
                             "snapshot -d three a", "snapshot -c four a", LIST]),
        ("snapshot/same_name", Q, ["snapshot -c x a", "snapshot -c x a", LIST, "snapshot -d x a", LIST, "snapshot -a x a"]),
        ("snapshot/name_is_an_id", Q, ["snapshot -c 2 a", "snapshot -c one a", "snapshot -a 2 a", "snapshot -d 2 a", LIST]),
        ("snapshot/delete_by_id", Q, ["snapshot -c one a", "snapshot -d 1 a", LIST]),
        ("snapshot/apply_by_id", on(""), [*FILL, "snapshot -a 1 a", LIST]),
        ("snapshot/name_empty", Q, ["snapshot -c '' a", LIST, "snapshot -a '' a", "snapshot -d '' a", LIST]),
        ("snapshot/name_odd", Q, [["snapshot", "-c", "ä b\n", "a"], LIST, ["snapshot", "-d", "ä b\n", "a"], LIST]),
        ("snapshot/name_long", Q, ["snapshot -c " + "n" * 300 + " a", LIST, "snapshot -d " + "n" * 300 + " a",
                                   "snapshot -d " + "n" * 255 + " a", LIST]),
        ("snapshot/delete_missing", Q, ["snapshot -d nope a", "snapshot -q -d nope a"]),
        ("snapshot/apply_missing", Q, ["snapshot -a nope a"]),
        ("snapshot/missing_file", {}, ["snapshot -l a", "snapshot -c x a", "snapshot -a x a", "snapshot -d x a", "snapshot a"]),
        ("snapshot/folder", {"a": "dir"}, ["snapshot -l a"]),
        ("snapshot/no_operands", {}, ["snapshot", "snapshot -l", "snapshot -c x", "snapshot -c"]),
        ("snapshot/two_operands", Q, ["snapshot -l a a"]),
        ("snapshot/mixed", Q, ["snapshot -l -c x a", "snapshot -c x -l a", "snapshot -c x -c y a", "snapshot -l -l a",
                               "snapshot -a x -d x a"]),
        ("snapshot/unknown_option", Q, ["snapshot -Z a", "snapshot -l -f qcow2 a", "snapshot --list a"]),
        ("snapshot/force_share", Q, ["snapshot -U -c x a", "snapshot -U a", "snapshot --force-share -d x a"]),
        ("snapshot/raw_list", RAW, [LIST]),
        ("snapshot/raw_create", RAW, ["snapshot -c x a"]),
        ("snapshot/raw_delete", RAW, ["snapshot -d x a"]),
        ("snapshot/raw_apply", RAW, ["snapshot -a x a"]),
        ("snapshot/raw_no_action", RAW, ["snapshot a"]),
        ("snapshot/data_file", {"a": "qcow2 -o data_file=d 1M"}, ["snapshot -c x a", "snapshot -d x a", LIST]),
        ("snapshot/data_file_apply", {"a": "qcow2 -o data_file=d 1M"}, ["snapshot -a x a"]),
        ("snapshot/one_bit", {"a": "qcow2 -o refcount_bits=1 1M"}, ["snapshot -c x a", LIST, "snapshot -d x a"]),
        ("snapshot/one_bit_with_data", on("-o refcount_bits=1"), ["convert -n -O qcow2 s a", "snapshot -c x a", LIST]),
        ("snapshot/two_bits", on("-o refcount_bits=2"), [*FILL, "snapshot -c three a", LIST]),
        ("snapshot/size_apply", on(""), ["convert -n -O qcow2 s a", "snapshot -c one a", "resize -q a 3M", "snapshot -c two a",
                                         "snapshot -a one a", "snapshot -a two a", "check -q a"]),
        ("snapshot/size_apply_larger", on(""), ["convert -n -O qcow2 s a", "resize -q a 2000M", "snapshot -c big a",
                                                "resize -q --shrink a 512K", "snapshot -a big a", "check -q a"]),
        ("snapshot/size_convert", on(""), ["convert -n -O qcow2 s a", "snapshot -c one a", "resize -q a 3M", "convert -l one a u"]),
        ("snapshot/empty_disk", {"a": "qcow2 0"}, ["snapshot -c x a", LIST, "snapshot -a x a", "snapshot -d x a", "check -q a"]),
        ("snapshot/version_2_size", {"a": "qcow2 -o compat=0.10 1M"}, ["snapshot -c x a", "resize a 2M"]),
        ("snapshot/convert_many", on(""), [*FILL, "convert -l one a a u", "convert -l one s s u"]),
        ("snapshot/convert_raw", RAW, ["convert -l x a u", "convert -l snapshot.id=1 a u"]),
        ("snapshot/convert_missing", {}, ["convert -l x a u", "convert -l snapshot.id=1 a u"]),
        ("snapshot/convert_short", on(""), [*FILL, "convert -l snapshot.id a u"]),
        ("snapshot/convert_shared", on(""), [*FILL, "convert -U -l one a u"]),
        ("snapshot/convert_existing", on("") | {"u": "1M 0+1M=7"}, [*FILL, "convert -n -l one a u"]),
        ("snapshot/compressed", on(""), ["convert -c -O qcow2 s b", "snapshot -c one b", "convert -n -O qcow2 t b", "convert -l one b u",
                                         "snapshot -a one b", "snapshot -d one b", "check -q b"]),
    ]
)
