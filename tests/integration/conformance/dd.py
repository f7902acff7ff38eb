A = {"a": "6000 0+6000"}
BIG = {"a": "3M 0+200K=2 1M+100K=3 2900K+100K"}
Q = {"a": "qcow2 3M | write -P 1 0 200K | write -P 2 1M 100K | write -z 2M 64K"}
DEEP = {"b": "qcow2 2M | write -P 7 0 1M", "a": "qcow2 -b b -F qcow2 3M | write -P 1 0 200K | write -z 512K 64K"}
WORDS = (
    "", "if=a", "of=d", "if=a of=d bs=0", "if=a of=d bs=-1", "if=a of=d bs=x", "if=a of=d bs=3G", "if=a of=d bs=2147483648",
    "if=a of=d bs=2147483647", "if=a of=d bs=16E", "if=a of=d bs=", "if=a of=d bs=1k,2", "if=a of=d bs=1.5k count=1", "if=a of=d bs",
    "if=a of=d count=", "if=a of=d count=x", "if=a of=d count=-1", "if=a of=d count=0", "if=a of=d count=9223372036854775807",
    "if=a of=d count=16E", "if=a of=d skip=", "if=a of=d skip=x", "if=a of=d skip=-1", "if=a of=d skip=0", "if=a of=d skip=16E",
    "if=a of=d skip=9223372036854775807", "if=a of=d seek=1", "if=a of=d conv=sync", "if=a of=d foo", "if=a of=d =1", "if=a of=d BS=1",
    "if=a of=d iflag=direct", "if= of=d", "if=a of=", "if=a of=/nope/d", "if=nope of=d", "if=a of=d if=nope", "if=nope if=a of=d",
    "-f nope if=a of=d", "-f '' if=a of=d", "-O nope if=a of=d", "-O nope if=nope of=d", "-O '' if=a of=d", "-f qcow2 if=a of=d",
    "-Z if=a of=d", "--nope if=a of=d", "-f", "-O", "-p if=a of=d", "-q if=a of=d", "-U if=a of=d", "--force-share if=a of=d",
    "--force if=a of=d", "-- if=a of=d", "if=a -f raw of=d", "if=a of=d bs=1M bs=512 count=1", "if=a of=d count=3 count=1",
    "if=a of=d skip=3 skip=1", "if=file:a of=d", "if=a of=file:d", "if=a=b of=d",
)
PARTS = (
    "bs=512 count=4", "bs=512 count=12", "bs=512 count=13", "bs=512 skip=2", "bs=512 skip=12", "bs=512 skip=13", "bs=512 count=4 skip=2",
    "bs=512 count=2 skip=4", "bs=512 count=4 skip=4", "bs=1 count=100", "bs=100 skip=3", "bs=100 skip=100", "bs=1 skip=5999", "bs=7 count=11 skip=3",
    "bs=4096 skip=1", "bs=1k count=5 skip=1", "bs=1000 count=6", "bs=6000", "bs=10000", "bs=10000 count=1 skip=1", "count=1", "skip=1",
)
LARGE = ("bs=1M", "bs=1M count=2", "bs=1M skip=1", "bs=1M count=2 skip=1", "bs=64k skip=15 count=18", "bs=100000 count=20 skip=3", "bs=3M count=1", "bs=1000 skip=1")
CASES = (
    [(f"dd/words_{n}", A, [f"dd {words}"]) for n, words in enumerate(WORDS)]
    + [(f"dd/part_{n}", A, [f"dd -f raw if=a of=d {words}"]) for n, words in enumerate(PARTS)]
    + [
        (f"dd/{name}_{form}_{n}", files, [f"dd {words} -O {form} if=a of=d", "info d"])
        for name, files in (("raw", BIG), ("qcow2", Q), ("deep", DEEP))
        for form in ("raw", "qcow2")
        for n, words in enumerate(LARGE)
    ]
    + [
        ("dd/over_larger", BIG | {"d": "8M 0+8M=4"}, ["dd if=a of=d"]),
        ("dd/over_smaller", BIG | {"d": "1M 0+1M=4"}, ["dd if=a of=d"]),
        ("dd/over_raw_by_qcow2", BIG | {"d": "1M 0+1M=4"}, ["dd -O qcow2 if=a of=d", "check -q d"]),
        ("dd/over_qcow2_by_raw", BIG | {"d": "qcow2 8M"}, ["dd if=a of=d"]),
        ("dd/over_qcow2", BIG | {"d": "qcow2 8M | write -P 6 0 8M"}, ["dd -O qcow2 if=a of=d", "check -q d"]),
        ("dd/empty", {"a": "0"}, ["dd if=a of=d", "dd -O qcow2 if=a of=e", "dd if=a of=f skip=1"]),
        ("dd/itself", A, ["dd if=a of=a"]),
        ("dd/itself_by_link", A | {"d": "-> a"}, ["dd if=a of=d"]),
        ("dd/link", A | {"d": "-> e"}, ["dd if=a of=d"]),
        ("dd/folder", {"a": "dir"}, ["dd if=a of=d"]),
        ("dd/to_folder", A | {"d": "dir"}, ["dd if=a of=d"]),
        ("dd/equal_copies", BIG, ["dd -O qcow2 if=a of=d", "dd -O raw if=d of=e", "compare a e", "compare d e"]),
    ]
)
