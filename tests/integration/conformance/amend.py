"""`amend`: each option on each kind of image, both ways, over backing files, with snapshots; wrong use."""

DATA = {"s": "1M 0+200K 500K+100K", "t": "1M 100K+200K=2 900K+100K=3"}
# Data, zeroes that a flag says, and snapshots between them.
ZEROES = {"s": "1M 0+400K 500K+100K", "z": "1M", "t": "1M 100K+100K=2 700K+100K=3"}
FILL = ["convert -n -O qcow2 s a", "snapshot -c one a", "convert -n -O qcow2 z a", "snapshot -c two a", "convert -n -O qcow2 t a"]
LOOK = ["check -q a"]

# qemu-img needs minutes for narrow counts of large clusters.
KINDS = (
    "", "-o compat=0.10", "-o refcount_bits=1,cluster_size=2k", "-o lazy_refcounts=on", "-o extended_l2=on", "-o compression_type=zstd",
    "-o cluster_size=128k", "-o preallocation=metadata", "-o refcount_bits=1,lazy_refcounts=on,cluster_size=4k",
)
CHANGES = (
    "compat=0.10", "compat=1.1", "refcount_bits=1", "refcount_bits=64", "lazy_refcounts=on", "size=3M", "size=512K", "size=5000M",
    "compat=0.10,refcount_bits=16,lazy_refcounts=off,data_file_raw=off", "compat=v3,refcount_bits=2,lazy_refcounts=on,size=2M",
)
# Images with something in them.
FILLED = ("", "-o compat=0.10", "-o refcount_bits=8,extended_l2=on", "-o cluster_size=512", "-o preallocation=metadata")
FILLED_CHANGES = (
    "compat=v2", "compat=0.10,refcount_bits=16", "compat=1.1,refcount_bits=2", "refcount_bits=64", "size=3M", "size=512K",
    "compat=1.1,refcount_bits=4,lazy_refcounts=on,size=2M",
)
WRONG = (
    "", ",", "compat=1.1,", ",compat=1.1", "=x", "compat=1.1,,", "compat", "compat=", "compat=bogus", "compat=3", "nosuch=1", "nosuch", "nocow=on",
    "lazy_refcounts=maybe", "refcount_bits=x", "refcount_bits=", "refcount_bits=0", "refcount_bits=3", "refcount_bits=128", "refcount_bits=-1",
    "size=x", "size=", "size", "size=-1", "size=1000", "size=513", "size=16E", "refcount_bits=8,compat=0.10", "lazy_refcounts=on,compat=0.10",
    "data_file=d", "data_file=", "data_file_raw=on", "backing_file=b", "backing_file=", "backing_fmt=raw", "backing_fmt=",
    "backing_file=,backing_fmt=", "encrypt.state=active", "encrypt.keyslot=1", "encrypt.keyslot=x", "encrypt.new-secret=x",
    "encrypt.old-secret=x", "encrypt.iter-time=1", "encrypt.format=luks", "encrypt.key-secret=x", "encryption=on", "cluster_size=65536", "cluster_size=x",
    "preallocation=off", "compression_type=zlib", "extended_l2=off", "keyslot=1",
    # Of several faults the one that is told.
    "compat=bogus,refcount_bits=3", "refcount_bits=3,compat=bogus", "data_file=x,refcount_bits=3", "encrypt.state=x,compat=bogus",
    "data_file=x,data_file_raw=on", "data_file_raw=on,refcount_bits=3", "data_file=x,backing_file=b", "backing_file=b,lazy_refcounts=on,compat=0.10",
    "backing_file=b,refcount_bits=1,compat=0.10", "backing_file=b,size=1000", "lazy_refcounts=on,compat=0.10,size=1000", "size=x,compat=bogus",
    "nosuch=1,compat=bogus", "compat=bogus,lazy_refcounts=x", "cluster_size=x,nosuch=1", "nosuch=1,cluster_size=x",
)


def on(options, size="1M"):
    return {"a": f"qcow2 {options} {size}"}


CASES = (
    [
        (f"amend/empty_{kind or 'default'}_{change}", on(kind), [f"amend -o {change} a", *LOOK])
        for kind in KINDS for change in CHANGES
    ]
    + [
        (f"amend/data_{kind or 'default'}_{change}", on(kind) | DATA, ["convert -n -O qcow2 s a", f"amend -o {change} a", *LOOK])
        for kind in FILLED for change in FILLED_CHANGES
    ]
    + [
        (f"amend/snapshots_{kind or 'default'}_{change}", on(kind) | ZEROES, [*FILL, f"amend -o {change} a", "snapshot -l a", *LOOK])
        for kind in FILLED for change in FILLED_CHANGES
    ]
    + [
        (f"amend/backed_{kind or 'default'}_{change}",
         {"b": "2M 0+2M=7"} | ZEROES,
         [f"create -q -f qcow2 {kind} -b b -F raw a 1M", *FILL, f"amend -o {change} a", *LOOK])
        for kind in ("", "-o compat=0.10", "-o cluster_size=512", "-o refcount_bits=64,cluster_size=4k")
        for change in ("compat=0.10,refcount_bits=16", "compat=1.1", "refcount_bits=2,compat=1.1", "size=2M,compat=1.1", "size=3M,compat=1.1",
                       "backing_file=b", "backing_file=b,backing_fmt=raw", "backing_file=b,backing_fmt=qcow2", "backing_fmt=raw",
                       "backing_file=c,backing_fmt=raw", "backing_file=,backing_fmt=")
    ]
    + [(f"amend/wrong_{wrong}", on(""), [["amend", "-o", wrong, "a"], *LOOK]) for wrong in WRONG]
    + [
        (f"amend/data_file_{kind}_{change}", {"a": f"qcow2 -o {kind} 1M"} | DATA,
         ["convert -n -O qcow2 s a", f"amend -o {change} a"])
        for kind in ("data_file=d", "data_file=d,data_file_raw=on", "data_file=d,refcount_bits=8,lazy_refcounts=on")
        for change in ("data_file=e", "data_file=d", "data_file=", "data_file_raw=on", "data_file_raw=off", "compat=0.10", "refcount_bits=1",
                       "refcount_bits=64,data_file=" + "e" * 300, "size=3M", "size=512K", "data_file=" + "e" * 3000, "lazy_refcounts=on,data_file=d,,e")
    ]
    + [
        ("amend/there_and_back", on("") | ZEROES,
         [*FILL, "amend -o refcount_bits=64 a", *LOOK, "amend -o refcount_bits=8 a", *LOOK, "amend -o refcount_bits=16,compat=0.10 a",
          *LOOK, "amend -o compat=1.1,lazy_refcounts=on,refcount_bits=8 a", *LOOK]),
        ("amend/widths", on("-o cluster_size=512", "4M") | DATA,
         ["convert -n -O qcow2 s a"] + [f"amend -o refcount_bits={bits} a" for bits in (1, 64, 2, 32, 4, 16, 8)] + LOOK),
        ("amend/twice", on(""), ["amend -o compat=0.10 a", "amend -o compat=0.10 a", *LOOK]),
        ("amend/several_o", on(""), ["amend -o compat=0.10 -o compat=1.1 a", "amend -o refcount_bits=8 -o lazy_refcounts=on a", *LOOK]),
        ("amend/the_last_counts", on(""), ["amend -o refcount_bits=8,refcount_bits=32 a", *LOOK]),
        ("amend/size_0", on(""), ["amend -o size=0 a", *LOOK]),
        ("amend/size_same", on(""), ["amend -o size=1M a", *LOOK]),
        ("amend/size_with_snapshots", on("") | ZEROES, [*FILL, "amend -o size=3M a", "amend -o size=512K a", "snapshot -a one a", *LOOK]),
        ("amend/size_of_snapshots_back", on("") | ZEROES, [*FILL, "amend -o size=3M a", "amend -o size=1M,compat=0.10 a", *LOOK]),
        ("amend/size_version_2_with_snapshots", on("-o compat=0.10") | ZEROES, [*FILL, "amend -o size=3M a", "amend -o size=3M,compat=1.1 a", *LOOK]),
        ("amend/snapshots_of_another_size", on("") | ZEROES, [*FILL, "resize -q a 2M", "amend -o compat=0.10 a", *LOOK]),
        ("amend/too_small_with_snapshots", on("") | DATA, ["convert -n -O qcow2 s a", "snapshot -c one a", "snapshot -c two a", "snapshot -c three a",
                                                         "amend -o refcount_bits=1 a", "amend -o refcount_bits=2 a", "amend -o refcount_bits=4 a", *LOOK]),
        ("amend/three_in_one", on("-o refcount_bits=8,extended_l2=on") | DATA, ["snapshot -c s a", "resize -q a 2M", "amend -o compat=0.10 a"]),
        ("amend/zstd_compressed", DATA, ["convert -c -O qcow2 -o compression_type=zstd s a", "amend -o compat=0.10 a", *LOOK]),
        ("amend/zlib_compressed", DATA, ["convert -c -O qcow2 s a", "snapshot -c s a", "amend -o compat=0.10 a", "amend -o refcount_bits=64,compat=1.1 a", *LOOK]),
        ("amend/bitmap", on("") | DATA, ["bitmap --add a b", "convert -n -O qcow2 s a", "amend -o refcount_bits=64,lazy_refcounts=on a", "amend -o size=2M a", *LOOK]),
        ("amend/bitmap_version_2", on(""), ["bitmap --add a b", "amend -o compat=0.10 a"]),
        ("amend/backing_without_format", {"b": "qcow2 1M"}, ["create -q -f qcow2 -F qcow2 -b b a", "amend -o backing_file=b,backing_fmt=qcow2 a", "amend -o backing_file=b a"]),
        ("amend/no_o", on(""), ["amend a", "amend", "amend -f qcow2 a", "amend -q -p a"]),
        ("amend/operands", on(""), ["amend -o compat=0.10", "amend -o compat=0.10 a a", "amend -o help", "amend -o help a a"]),
        ("amend/help", on(""), ["amend -o help a", "amend -o compat=0.10,help a", "amend -o ? a", "amend -o help -o compat=x a", "amend -f qcow2 -o help",
                                "amend -f qcow2 -o help nofile", "amend -o help -t none a", "amend -p -q -o help a"]),
        ("amend/help_raw", {"a": "64K 0+4K"}, ["amend -o help a", "amend -f raw -o help a", "amend -f raw -o help", "amend -f nosuch -o help"]),
        ("amend/raw", {"a": "64K 0+4K"}, ["amend -o compat=0.10 a", "amend -f raw -o size=1M a", "amend -f raw -o nosuch=1 a", "amend -o '' a"]),
        ("amend/formats", on(""), ["amend -f bogus -o compat=0.10 a", "amend -f raw -o compat=0.10 a", "amend -f qcow2 -o compat=0.10 a", *LOOK]),
        ("amend/caches", on(""), [f"amend -t {mode} -o refcount_bits={bits} a" for mode, bits in
                                  (("none", 8), ("off", 4), ("writeback", 16), ("writethrough", 32), ("directsync", 16), ("unsafe", 64))] + LOOK),
        ("amend/cache_bogus", on(""), ["amend -t bogus -o compat=0.10 a", "amend -t '' -o compat=0.10 a", "amend -t bogus -o compat=0.10 nofile"]),
        ("amend/force", on(""), ["amend --force -o compat=0.10 a", *LOOK]),
        ("amend/quiet", on(""), ["amend -q -o compat=0.10 a", "amend -q -o nosuch=1 a", "amend -q -p -o compat=1.1 a"]),
        ("amend/progress", on("") | ZEROES, [*FILL, "amend -p -o refcount_bits=64 a", "amend -p -o refcount_bits=16,compat=0.10 a", "amend -p -o compat=1.1 a",
                                             "amend -p -o size=2M a"]),
        ("amend/progress_of_nothing", on(""), ["amend -p -o nosuch=1 a", "amend -p -o help a"]),
        ("amend/missing_file", {}, ["amend -o compat=0.10 a", "amend -o help a", "amend -f qcow2 -o compat=0.10 a"]),
        ("amend/folder", {"a": "dir"}, ["amend -o compat=0.10 a"]),
        ("amend/unknown_options", on(""), ["amend -Z -o compat=0.10 a", "amend --bogus -o compat=0.10 a", "amend -U -o compat=0.10 a", "amend -o"]),
        ("amend/options_last", on(""), ["amend a -o compat=0.10", *LOOK]),
        ("amend/double_dash", on(""), ["amend -o compat=0.10 -- a", *LOOK]),
    ]
)
