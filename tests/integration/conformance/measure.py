DATA = {"s": "3M 0+200K 500K+100K 1M+5K 2M+1K=0 3071K+1K"}
SIZES = ("0", "1", "512", "1000", "64k", "1M", "1G", "10T", "63P", "1.5G", "0x1000", "-1", "x", "''", "7E", "8E", "1k5")
OPTIONS = (
    "", "cluster_size=512", "cluster_size=4k", "cluster_size=2M", "extended_l2=on", "refcount_bits=1", "refcount_bits=64",
    "compat=0.10", "preallocation=off", "preallocation=metadata", "preallocation=falloc", "preallocation=full",
    "compression_type=zstd", "data_file=x", "data_file=x,data_file_raw=on", "backing_file=x", "backing_file=x,backing_fmt=raw",
    "cluster_size=512,refcount_bits=64", "extended_l2=on,cluster_size=16k", "size=5", "lazy_refcounts=on",
)
WRONG = (
    "cluster_size=4M", "cluster_size=3k", "cluster_size=0", "extended_l2=on,cluster_size=4k", "refcount_bits=3", "refcount_bits=128",
    "compat=0.10,refcount_bits=8", "compat=9", "preallocation=bogus", "bogus=1", "help", "cluster_size=x", "extended_l2=perhaps", "''",
)

CASES = (
    [(f"measure/size_{size}", {}, [f"measure --size {size}", f"measure -O qcow2 --size {size}"]) for size in SIZES]
    + [
        (f"measure/empty_{options}", {}, [f"measure -O qcow2 -o '{options}' --size {size}" for size in ("0", "1M", "1000000", "1T")])
        for options in OPTIONS if options
    ]
    + [(f"measure/wrong_{options}", {}, [f"measure -O qcow2 -o {options} --size 1M"]) for options in WRONG]
    + [
        (f"measure/copy_{options or 'default'}", DATA, [f"measure -O qcow2 {'-o ' if options else ''}{options} -f raw s"])
        for options in OPTIONS
    ]
    + [
        ("measure/raw", DATA, ["measure s", "measure -f raw s", "measure -O raw s", "measure -O raw -f raw --output=json s"]),
        ("measure/json", DATA | {"a": "qcow2 1M"}, ["measure --output=json --size 1M", "measure --output=json -O qcow2 -f raw s",
                                                    "measure --output=json -O qcow2 a", "measure --output=human a"]),
        ("measure/output_wrong", {}, ["measure --output=xml --size 1M", "measure --output --size 1M", "measure --output=json"]),
        ("measure/qcow2", DATA, ["convert -O qcow2 s a", "measure -O qcow2 a", "measure a", "measure -O qcow2 -o compat=0.10 a"]),
        ("measure/compressed", DATA, ["convert -c -O qcow2 s a", "measure -O qcow2 a", "measure -O qcow2 -o cluster_size=4k a"]),
        ("measure/zeroes", {"z": "3M"}, ["convert -O qcow2 z a", "measure -O qcow2 a", "measure -O qcow2 -f raw z"]),
        ("measure/version_2", DATA, ["convert -O qcow2 -o compat=0.10 s a", "measure -O qcow2 a", "measure -O qcow2 -o compat=0.10 a"]),
        ("measure/over_backing", DATA | {"a": "qcow2 -b s -F raw -u 4M"}, ["measure -O qcow2 a", "measure -O raw a"]),
        ("measure/bitmaps", DATA, ["convert -O qcow2 s a", "bitmap --add a b", "bitmap --add -g 512 a " + "n" * 300, "bitmap --add --disable a c",
                                   "measure -O qcow2 a", "measure -O qcow2 -o cluster_size=512 a", "measure -O raw a"]),
        ("measure/snapshot", DATA | {"z": "3M"},
         ["convert -O qcow2 s a", "snapshot -c one a", "convert -n -O qcow2 z a", "measure -O qcow2 a", "measure -O qcow2 -l one a",
          "measure -O qcow2 -l snapshot.name=one a", "measure -O qcow2 -l snapshot.id=1 a", "measure -O qcow2 -l two a",
          "measure -O qcow2 -l snapshot.id=9 a", "measure -l one -f raw s"]),
        ("measure/nothing", {}, ["measure", "measure -O qcow2", "measure -f raw", "measure -l x", "measure -U", "measure -O qcow2 -o help"]),
        ("measure/both", DATA, ["measure --size 1M s", "measure --size 1M s s", "measure s s", "measure -f raw --size 1M"]),
        ("measure/missing", {}, ["measure nope", "measure -O qcow2 -o bogus=1 nope"]),
        ("measure/folder", {"a": "dir"}, ["measure a"]),
        ("measure/format_unknown", DATA, ["measure -O nope --size 1M", "measure -f nope s"]),
        ("measure/not_qcow2", DATA, ["measure -f qcow2 s"]),
        ("measure/force_share", DATA, ["measure -U -f raw s", "measure --force-share --size 1M"]),
        ("measure/unknown_option", {}, ["measure -Z", "measure --nope", "measure --size", "measure -p --size 1M", "measure -q --size 1M"]),
        ("measure/abbreviated", {}, ["measure --si 1M", "measure --out=json --size 1M"]),
        ("measure/odd_source", {"s": "1000001 0+1000001"}, ["measure -f raw s", "measure -f raw -O qcow2 s", "measure -f raw -O qcow2 -o cluster_size=512 s"]),
        ("measure/empty_source", {"s": "0"}, ["measure -f raw s", "measure -f raw -O qcow2 s"]),
        ("measure/twice", {}, ["measure --size 1M --size 2M", "measure -O qcow2 -o cluster_size=4k -o extended_l2=off --size 1M"]),
    ]
)
