W = " | write -P 1 0 1M | write -P 2 3M 64K"
S = {"s": "qcow2 4M", "w": "4M 0+1M 3M+64K"}
ADD = ["bitmap --add -g 4k s one", "bitmap --add s two", "bitmap --disable s two", "convert -n -O qcow2 w s"]
COPY = "convert --bitmaps -O qcow2 s d"
AFTER = ["info d", "check -q d"]
OPTIONS = (
    "cluster_size=512", "cluster_size=4k", "cluster_size=2M", "refcount_bits=1", "extended_l2=on", "lazy_refcounts=on", "compression_type=zstd",
    "preallocation=metadata", "compat=0.10", "compat=1.1",
)
CASES = (
    [
        ("convert_bitmaps/both", S, [*ADD, COPY, *AFTER]),
        ("convert_bitmaps/none", S, [COPY, *AFTER]),
        ("convert_bitmaps/not_asked", S, [*ADD, "convert -O qcow2 s d", *AFTER]),
        ("convert_bitmaps/abbreviated", S, [*ADD, "convert --bitmap -O qcow2 s d", *AFTER]),
        ("convert_bitmaps/many", S, [f"bitmap --add -g {512 << i} s b{i}" for i in range(12)] + ["convert -n -O qcow2 w s", COPY, *AFTER]),
        ("convert_bitmaps/of_copy", S, [*ADD, COPY, "convert --bitmaps -O qcow2 d e", "info e", "check -q e"]),
        ("convert_bitmaps/clean", S, ["bitmap --add s one", COPY, *AFTER]),
        ("convert_bitmaps/compressed", S, [*ADD, "convert --bitmaps -c -O qcow2 s d", *AFTER]),
        ("convert_bitmaps/progress", S, [*ADD, "convert -p --bitmaps -O qcow2 s d", *AFTER]),
        ("convert_bitmaps/quiet", S, [*ADD, "convert -q --bitmaps -O qcow2 s d", *AFTER]),
        ("convert_bitmaps/to_raw", S, [*ADD, "convert --bitmaps -O raw s d"]),
        ("convert_bitmaps/none_to_raw", S, ["convert --bitmaps -O raw s d"]),
        ("convert_bitmaps/to_existing_raw", S, [*ADD, "convert --bitmaps -n -O raw s w"]),
        ("convert_bitmaps/from_raw", S, ["convert --bitmaps -O qcow2 w d", "convert --bitmaps -f raw -O qcow2 w d", "convert --bitmaps -O raw w d"]),
        ("convert_bitmaps/from_version_2", {"s": "qcow2 -o compat=0.10 4M"}, [COPY]),
        ("convert_bitmaps/several", S, [*ADD, "convert --bitmaps -O qcow2 s s d", "convert --bitmaps -O qcow2 s w d", "convert --bitmaps -O qcow2 w s d"]),
        ("convert_bitmaps/skip_alone", S, ["convert --skip-broken-bitmaps -O qcow2 s d", "convert --skip -O qcow2 s d"]),
        ("convert_bitmaps/skip_nothing", S, [*ADD, "convert --bitmaps --skip-broken-bitmaps -O qcow2 s d", *AFTER]),
        ("convert_bitmaps/existing", S | {"d": "qcow2 4M"}, [*ADD, "convert --bitmaps -n -O qcow2 s d", *AFTER]),
        ("convert_bitmaps/existing_others", S | {"d": "qcow2 4M"},
         [*ADD, "bitmap --add d other", "convert --bitmaps -n -O qcow2 s d", *AFTER]),
        ("convert_bitmaps/existing_same_name", S | {"d": "qcow2 4M"}, [*ADD, "bitmap --add d two", "convert --bitmaps -n -O qcow2 s d"]),
        ("convert_bitmaps/existing_larger", S | {"d": "qcow2 8M"}, [*ADD, "convert --bitmaps -n -O qcow2 s d"]),
        ("convert_bitmaps/existing_larger_none", S | {"d": "qcow2 8M"}, ["convert --bitmaps -n -O qcow2 s d", *AFTER]),
        ("convert_bitmaps/existing_smaller", S | {"d": "qcow2 1M"}, [*ADD, "convert --bitmaps -n -O qcow2 s d"]),
        ("convert_bitmaps/existing_version_2", S | {"d": "qcow2 -o compat=0.10 4M"}, [*ADD, "convert --bitmaps -n -O qcow2 s d"]),
        ("convert_bitmaps/over_file", S | {"d": "1M 0+1M"}, [*ADD, COPY, *AFTER]),
        ("convert_bitmaps/missing", {}, [COPY]),
        ("convert_bitmaps/snapshot", S, ["bitmap --add s one", "bitmap --remove s one", "snapshot -c x s", *ADD,
                                         "convert --bitmaps -l x -O qcow2 s d", *AFTER]),
        ("convert_bitmaps/snapshot_missing", S, [*ADD, "convert --bitmaps -l x -O qcow2 s d"]),
        ("convert_bitmaps/backing", {"b": "qcow2 4M" + W, "s": "qcow2 -b b -F qcow2 4M", "w": "4M 2M+1M"},
         [*ADD, "convert --bitmaps -B b -F qcow2 -O qcow2 s d", *AFTER]),
        ("convert_bitmaps/flattened", {"b": "qcow2 4M" + W, "s": "qcow2 -b b -F qcow2 4M", "w": "4M 2M+1M"}, [*ADD, COPY, *AFTER]),
        ("convert_bitmaps/odd_size", {"s": "qcow2 1000K", "w": "1000K 0+10K 990K+10K"}, [*ADD, COPY, *AFTER]),
        ("convert_bitmaps/large", {"s": "qcow2 1T", "w": "4M"}, ["bitmap --add s one", COPY, *AFTER]),
        ("convert_bitmaps/data_file", S, [*ADD, "convert --bitmaps -O qcow2 -o data_file=e s d", *AFTER]),
    ]
    + [(f"convert_bitmaps/to_{o}", S, [*ADD, f"convert --bitmaps -O qcow2 -o {o} s d"] + ([] if "0.10" in o else AFTER)) for o in OPTIONS]
    + [
        (f"convert_bitmaps/from_{o}", {"s": f"qcow2 -o {o} 4M", "w": S["w"]}, [*ADD, COPY, *AFTER])
        for o in OPTIONS if o not in ("compat=0.10", "refcount_bits=1")
    ]
)
