"""create -f qcow2: what is made is compared byte for byte."""

BASE = {"b": "3M 1M+64K=7"}
QBASE = {"b": "qcow2 3M"}

GOOD_OPTIONS = [
    *(f"cluster_size={size}" for size in ("512", "1k", "2k", "4k", "8k", "16k", "32k", "64k", "128k", "1M", "2M", "65536")),
    *(f"refcount_bits={bits}" for bits in (1, 2, 4, 8, 16, 32, 64)),
    *(f"refcount_bits={bits},cluster_size=512" for bits in (1, 8, 64)),
    *(f"compat={compat}" for compat in ("0.10", "1.1", "v2", "v3")),
    "compat=0.10,cluster_size=512", "lazy_refcounts=on", "lazy_refcounts=off", "lazy_refcounts=yes", "extended_l2=on",
    "extended_l2=on,cluster_size=16k", "extended_l2=on,cluster_size=2M", "extended_l2=off", "compression_type=zlib",
    "compression_type=zstd", "compression_type=zstd,cluster_size=4k",
    *(f"preallocation={mode}" for mode in ("off", "metadata", "falloc", "full")),
    "preallocation=metadata,cluster_size=512", "preallocation=metadata,cluster_size=4k,refcount_bits=64",
    "preallocation=falloc,cluster_size=4k", "preallocation=full,cluster_size=512", "preallocation=metadata,extended_l2=on",
    "preallocation=full,compat=0.10", "preallocation=metadata,lazy_refcounts=on", "data_file=d", "data_file=d,data_file_raw=on",
    "data_file=d,preallocation=metadata", "data_file=d,preallocation=falloc", "data_file=d,preallocation=full,data_file_raw=on",
    "data_file=d,extended_l2=on", "data_file=d,cluster_size=4k,refcount_bits=1", "nocow=off", "nocow=on",
    "cluster_size=4k,cluster_size=8k", "compat=1.1,lazy_refcounts=on,refcount_bits=8,cluster_size=32k,compression_type=zstd",
]
WRONG_OPTIONS = [
    "cluster_size=0", "cluster_size=3", "cluster_size=256", "cluster_size=4M", "cluster_size=x", "cluster_size=", "cluster_size=-1",
    "refcount_bits=0", "refcount_bits=3", "refcount_bits=128", "refcount_bits=x", "refcount_bits=-1", "compat=2", "compat=", "compat=1.0",
    "compat=0.10,refcount_bits=8", "compat=0.10,lazy_refcounts=on", "compat=0.10,extended_l2=on", "compat=0.10,compression_type=zstd",
    "compat=0.10,data_file=d", "extended_l2=on,cluster_size=8k", "extended_l2=maybe", "lazy_refcounts=2", "compression_type=lzo",
    "compression_type=", "preallocation=bogus", "preallocation=", "data_file_raw=on", "data_file=", "bogus=1", "bogus",
    "extent_size_hint=x",
]
SIZES = ["0", "1", "511", "512", "513", "1000", "1M", "3M", "1G", "64G", "1T", "1P", "2E", "8E", "-1", "x", "1.5G", "1k1"]
# With a backing file: what "b" is, and the words before the name.
OVER = [
    (BASE, "-b b -F raw a"), (BASE, "-b b -F raw a 1M"), (BASE, "-b b -F raw a 10M"), (QBASE, "-b b -F qcow2 a"),
    (QBASE, "-b b -F raw a"), (BASE, "-b b a"), (QBASE, "-b b a"), (BASE, "-b nosuch -F raw a"), (BASE, "-b nosuch -F raw a 1M"),
    (BASE, "-b b -F nosuch a"), (BASE, "-b b -F qcow2 a"), (BASE, "-u -b nosuch -F raw a 1M"), (BASE, "-u -b nosuch -F raw a"),
    (BASE, "-u -b b a 1M"), (BASE, "-u -b b -F nosuch a 1M"), (BASE, "-b '' -F raw a 1M"), (BASE, "-b a -F raw a 1M"),
    (BASE, "-F raw a 1M"), (BASE, "-o backing_file=b,backing_fmt=raw a"), (BASE, "-o backing_file=b a"),
    (BASE, "-o backing_fmt=raw a 1M"), (BASE, "-o backing_file= a 1M"), (BASE, "-o backing_file=b -F raw a"),
    (BASE, "-b b -F raw -o extended_l2=on a"), (BASE, "-b b -F raw -o extended_l2=on,preallocation=metadata a"),
    (BASE, "-b b -F raw -o preallocation=metadata a"), (BASE, "-b b -F raw -o extended_l2=on,preallocation=full a 4M"),
    (BASE, "-b b -F raw -o compat=0.10 a"), (BASE, "-b b -F raw -o data_file=d a"),
    (BASE, "-b b -F raw -o data_file=d,data_file_raw=on a"), (BASE, "-b ./b -F raw a"), (BASE, "-b no/b -F raw a"),
    (BASE | {"f": "dir"}, "-b ../b -F raw f/a"), (BASE | {"f": "dir"}, "-b b -F raw f/a"), ({"b": "dir"}, "-b b -F raw a"),
    ({"b": "1000 0+1000"}, "-b b -F raw a"), ({"b": "0"}, "-b b -F raw a"), (BASE, "-b " + "x" * 1023 + " -u -F raw a 1M"),
    (BASE, "-b " + "x" * 1024 + " -u -F raw a 1M"), (BASE, "-b " + "x" * 500 + " -u -F raw -o cluster_size=512 a 1M"),
    (BASE, "-b file:b -F raw a"), (BASE, "-b json:{} -F raw a"), (BASE, "-b nbd:x -u -F raw a 1M"),
]
EXISTING = [
    ({"a": "64K 0+64K"}, "a 1M"), ({"a": "8M 0+8M"}, "a 1M"), ({"a": "qcow2 4M"}, "a 1M"), ({"a": "dir"}, "a 1M"),
    ({"a": "-> c", "c": "1M 0+1M"}, "a 2M"), ({"a": "-> c"}, "a 2M"), ({"d": "1M 0+1M=3"}, "-o data_file=d a 4M"),
    ({"d": "8M 0+8M=3"}, "-o data_file=d,data_file_raw=on a 4M"), ({"d": "dir"}, "-o data_file=d a 4M"),
    ({}, "-o data_file=a a 4M"), ({}, "-o data_file=no/d a 4M"), ({}, "no/a 1M"), ({}, "-o preallocation=metadata no/a 1M"),
    ({}, "'' 1M"), ({}, "a"), ({}, ""), ({}, "a 1M 2M"), ({}, "-o size=1M a 1M"), ({}, "-o size=1M a"), ({}, "-q a 1M"),
    ({}, "-o help"), ({}, "-o help a"), ({}, "-o '?' a"), ({}, "-o cluster_size=4k -o refcount_bits=8 a 1M"), ({}, "file:a 1M"),
    ({}, "nosuch:a 1M"), ({}, "-o data_file=nbd:d a 1M"), ({}, "-o encryption=off a 1M"), ({}, "-o encryption=on a 1M"),
    ({}, "-o encrypt.format=luks a 1M"), ({}, "-o encrypt.format=bogus a 1M"), ({}, "-o size=1M,help a"),
]

CASES = (
    [(f"create_qcow2/{options}", {}, [f"create -f qcow2 -o {options} a 5M"]) for options in GOOD_OPTIONS]
    + [(f"create_qcow2/wrong_{options}", {}, [f"create -f qcow2 -o {options} a 5M"]) for options in WRONG_OPTIONS]
    + [(f"create_qcow2/size_{size}", {}, [f"create -f qcow2 -- a {size}"]) for size in SIZES]
    + [
        (f"create_qcow2/size_{size}_{options}", {}, [f"create -f qcow2 -o {options} a {size}"])
        for options in ("cluster_size=512", "cluster_size=2M", "extended_l2=on,cluster_size=16k", "refcount_bits=64")
        for size in ("0", "100G", "1T", "1P")
    ]
    + [(f"create_qcow2/metadata_{size}", {}, [f"create -f qcow2 -o preallocation=metadata a {size}"]) for size in ("0", "513", "600M", "2G", "30G")]
    + [(f"create_qcow2/over_{n}", files, [f"create -f qcow2 {words}"]) for n, (files, words) in enumerate(OVER)]
    + [(f"create_qcow2/existing_{n}", files, [f"create -f qcow2 {words}"]) for n, (files, words) in enumerate(EXISTING)]
)
