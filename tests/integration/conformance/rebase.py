OLD = "qcow2 4M | write -P 1 0 1M | write -P 2 2M 512K | write -z 3M 64K"
NEW = "qcow2 4M | write -P 1 0 512K | write -P 5 2M 512K | write -P 6 3M 128K"
TOP = "write -P 3 256K 64K | write -z 128K 64K | write -P 4 3900K 30K"
F = {"o": OLD, "n": NEW, "a": f"qcow2 -b o -F qcow2 4M | {TOP}"}
CHAIN = {
    "d": "qcow2 5M | write -P 1 0 1M | write -P 8 4M 1M",
    "c": "qcow2 -b d -F qcow2 4M | write -P 2 512K 1M",
    "b": "qcow2 -b c -F qcow2 3M | write -P 3 1M 1M | write -z 100K 200K",
    "a": "qcow2 -b b -F qcow2 5M | write -P 4 768K 64K | write -z 0 128K",
}
AFTER = ["info a", "check -q a"]
OPTIONS = (
    "", "-o cluster_size=512", "-o cluster_size=4k", "-o cluster_size=2M", "-o refcount_bits=1", "-o refcount_bits=64",
    "-o extended_l2=on", "-o lazy_refcounts=on", "-o compression_type=zstd", "-o compat=0.10", "-o data_file=e",
)
WORDS = (
    "a", "-b n a", "-b n -F qcow2 a", "-b '' a", "-b '' -F qcow2 a", "-u -b n -F qcow2 a", "-u -b n a", "-u a", "-u -b '' a",
    "-u -F qcow2 a", "-u -b '' -F qcow2 a", "-u -b nope -F qcow2 a", "-u -b nope -F raw a", "-b nope -F qcow2 a", "-b nope a",
    "-b n -F nope a", "-u -b n -F nope a", "-b n -F '' a", "-F qcow2 a", "-b n -F raw a", "-b o -F qcow2 a", "-b ./o -F qcow2 a",
    "-b a -F qcow2 a", "-b n -F qcow2 nope", "", "-b n", "a n", "-t nope -b n -F qcow2 a", "-T nope -b n -F qcow2 a",
    "-t '' -b n -F qcow2 a", "-f nope -b n -F qcow2 a", "-f qcow2 -b n -F qcow2 a", "-f raw -b n -F qcow2 a", "-f raw -u a", "-f raw -b '' a",
    "-q -b n -F qcow2 a", "-U -b n -F qcow2 a", "--force-share -b n -F qcow2 a", "--force -b n -F qcow2 a", "-Z a", "--nope a", "-b",
    "-F", "-t", "-p -b n -F qcow2 a", "-p -q -b n -F qcow2 a", "-p -u -b n -F qcow2 a", "-p -b nope -F qcow2 a", "-p -b n a", "-p a",
    "-p -t nope -b n a", "-b file:n -F qcow2 a", "-u -b file:n -F qcow2 a", "-u -b nbd:x -F raw a", "-b . -F qcow2 a", "-b n -F qcow2 -- a", "a -b n -F qcow2",
    "-b o -b n -F qcow2 a", "-b n -F raw -F qcow2 a", "-T none -t none -b n -F qcow2 a", "-t unsafe -b n -F qcow2 a",
    "-t writethrough -T writeback -b n -F qcow2 a", "-u -u -b n -F qcow2 a",
)
SIZES = ("64K", "1M", "1000K", "2M", "2500K", "4M", "5M", "6M")


def overlay(options, size="4M"):
    return f"qcow2 {options} -b o -F qcow2 {size}" + (f" | {TOP}" if size == "4M" else " | write -P 3 10K 20K")


CASES = (
    [(f"rebase/words_{n}", F, [f"rebase {words}", "info a"]) for n, words in enumerate(WORDS)]
    + [(f"rebase/top_{o or 'default'}", F | {"a": overlay(o)}, ["rebase -b n -F qcow2 a", *AFTER]) for o in OPTIONS]
    + [(f"rebase/flatten_{o or 'default'}", F | {"a": overlay(o)}, ["rebase -b '' a", *AFTER]) for o in OPTIONS]
    + [(f"rebase/unsafe_{o or 'default'}", F | {"a": overlay(o)}, ["rebase -u -b n -F qcow2 a", *AFTER]) for o in OPTIONS]
    + [
        (f"rebase/new_{o or 'default'}", F | {"n": NEW.replace("qcow2", "qcow2 " + o, 1)}, ["rebase -b n -F qcow2 a", *AFTER])
        for o in OPTIONS if o != "-o refcount_bits=1"
    ]
    + [(f"rebase/size_{size}", F | {"a": overlay("", size)}, ["rebase -b n -F qcow2 a", *AFTER]) for size in SIZES]
    + [
        (f"rebase/new_size_{size}", F | {"n": f"qcow2 {size} | write -P 5 0 {size}"}, ["rebase -b n -F qcow2 a", *AFTER]) for size in SIZES
    ]
    + [
        (f"rebase/old_size_{size}", F | {"o": f"qcow2 {size} | write -P 5 0 {size}"}, ["rebase -b n -F qcow2 a", *AFTER]) for size in SIZES
    ]
    + [
        (f"rebase/sizes_{top}_{old}_{new}",
         {"o": f"qcow2 {old} | write -P 5 0 {old}", "n": f"qcow2 {new} | write -P 6 0 {new}", "a": f"qcow2 -b o -F qcow2 {top}"},
         ["rebase -b n -F qcow2 a", *AFTER])
        for top, old, new in (
            ("3M", "1M", "2M"), ("3M", "2M", "1M"), ("2M", "1M", "3M"), ("2M", "3M", "1M"), ("1M", "2M", "3M"), ("1M", "3M", "2M"),
            ("3000K", "1100K", "2200K"), ("3000K", "2200K", "1100K"), ("100K", "90K", "80K"), ("100K", "80K", "90K"), ("1M", "0", "1M"), ("1M", "1M", "0"),
        ) if old != "0" and new != "0"
    ]
    + [
        (f"rebase/chain_{n}", CHAIN, [f"rebase {words}", *AFTER])
        for n, words in enumerate((
            "-b b -F qcow2 a", "-b c -F qcow2 a", "-b d -F qcow2 a", "-b '' a", "-b c a", "-u -b c -F qcow2 a", "-p -b c -F qcow2 a", "-b d -F qcow2 b",
        ))
    ]
    + [
        ("rebase/no_old", {"n": NEW, "a": "qcow2 4M | write -P 3 256K 64K"}, ["rebase -b n -F qcow2 a", *AFTER]),
        ("rebase/no_old_no_new", {"a": "qcow2 4M | write -P 3 256K 64K"}, ["rebase -b '' a", *AFTER]),
        ("rebase/no_old_unsafe", {"n": NEW, "a": "qcow2 4M | write -P 3 256K 64K"}, ["rebase -u -b n -F qcow2 a", *AFTER]),
        ("rebase/raw", F | {"n": "4M 0+1M 2M+100K=4"}, ["rebase -b n -F raw a", *AFTER]),
        ("rebase/raw_no_format", F | {"n": "4M 0+1M 2M+100K=4"}, ["rebase -b n a", *AFTER]),
        ("rebase/raw_odd", F | {"n": "100001 0+100001=4"}, ["rebase -b n -F raw a", *AFTER]),
        ("rebase/from_raw", {"o": "4M 0+1M 2M+100K=4", "n": NEW, "a": f"qcow2 -b o -F raw 4M | {TOP}"}, ["rebase -b n -F qcow2 a", *AFTER]),
        ("rebase/from_odd_raw", {"o": "100001 0+100001=4", "n": NEW, "a": f"qcow2 -b o -F raw 4M | {TOP}"}, ["rebase -b n -F qcow2 a", *AFTER]),
        ("rebase/of_raw", {"a": "1M 0+1M", "n": NEW},
         ["rebase -f raw -b n -F qcow2 a", "rebase -b n -F qcow2 a", "rebase -u -f raw -b n -F qcow2 a", "rebase -f raw -b nope -F raw a"]),
        ("rebase/missing_old", {"n": NEW, "a": "qcow2 -u -b o -F qcow2 4M"},
         ["rebase -b n -F qcow2 a", "rebase -u -b n -F qcow2 a", *AFTER]),
        ("rebase/names", F, ["rebase -u -b " + "n" * 1023 + " -F qcow2 a", "rebase -u -b " + "m" * 1024 + " -F qcow2 a", "info a"]),
        ("rebase/name_header", F | {"a": "qcow2 -o cluster_size=512 -b o -F qcow2 4M"}, ["rebase -u -b " + "n" * 300 + " -F qcow2 a", "info a"]),
        ("rebase/name_header_safe", F | {"a": "qcow2 -o cluster_size=512 -b o -F qcow2 4M"},
         ["rebase -b " + "./" * 200 + "n -F qcow2 a", *AFTER]),
        ("rebase/relative", {"f": "dir", "f/o": OLD, "f/n": NEW, "f/a": f"qcow2 -b o -F qcow2 4M | {TOP}"},
         ["rebase -b n -F qcow2 f/a", "rebase -b f/n -F qcow2 f/a", "info f/a", "check -q f/a"]),
        ("rebase/link", F | {"l": "-> a"}, ["rebase -b n -F qcow2 l", *AFTER]),
        ("rebase/old_as_raw", F, ["rebase -b o -F raw a", *AFTER]),
        ("rebase/new_by_link", F | {"l": "-> o"}, ["rebase -b l -F qcow2 a", *AFTER]),
        ("rebase/there_and_back", F, ["rebase -b n -F qcow2 a", "rebase -b o -F qcow2 a", *AFTER]),
        ("rebase/snapshots", F, ["snapshot -c one a", "rebase -b n -F qcow2 a", *AFTER]),
        ("rebase/bitmaps", F, ["bitmap --add a x", "rebase -b n -F qcow2 a", *AFTER]),
        ("rebase/same_base", {"d": OLD, "o": "qcow2 -b d -F qcow2 4M | write -P 5 1M 64K", "n": "qcow2 -b d -F qcow2 4M | write -P 6 2M 64K",
                              "a": "qcow2 -b o -F qcow2 4M"}, ["rebase -b n -F qcow2 a", *AFTER]),
        ("rebase/loop", {"o": OLD, "a": "qcow2 -b o -F qcow2 4M", "n": "qcow2 -b a -F qcow2 4M"}, ["rebase -b n -F qcow2 a", *AFTER]),
        ("rebase/new_missing_backing", F | {"n": "qcow2 -u -b nope -F qcow2 4M"}, ["rebase -b n -F qcow2 a", *AFTER]),
        ("rebase/folder", {"a": "dir"}, ["rebase -f raw -u a"]),
        ("rebase/large", {"o": "qcow2 1T | write -P 1 512G 64K", "n": "qcow2 1T | write -P 2 700G 64K", "a": "qcow2 -b o -F qcow2 1M"},
         ["rebase -b n -F qcow2 a", *AFTER]),
    ]
)
