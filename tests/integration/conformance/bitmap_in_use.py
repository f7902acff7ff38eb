# Bitmaps that nobody wrote back: b of two is in use, c is whole; or b alone.
W = " | write -P 1 0 1M | write -P 2 3M 64K"
BOTH = {"a": "bitmaps b!,c of qcow2 4M" + W}
ALONE = {"a": "bitmaps b! of qcow2 4M" + W}
DISABLED = {"a": "bitmaps b-! of qcow2 4M" + W}
DATA = {"s": "4M 1M+200K"}
FILL = "convert -n -O qcow2 s a"
AFTER = ["info a", "info --output=json a", "check -q a"]
KINDS = {"both": BOTH, "alone": ALONE, "disabled": DISABLED}
OPTIONS = ("-o cluster_size=512", "-o extended_l2=on", "-o data_file=d", "-o refcount_bits=1")
COPY = "convert --bitmaps -O qcow2 a d"

CASES = (
    [(f"bitmap_in_use/look_{kind}", files, ["info a", "info --output=json a", "info -U a", "check a", "check --output=json a", "map a"])
     for kind, files in KINDS.items()]
    + [(f"bitmap_in_use/check_{kind}_{how}", files, [f"check -r {how} a", *AFTER]) for kind, files in KINDS.items() for how in ("leaks", "all")]
    + [(f"bitmap_in_use/look_{options}", {"a": f"bitmaps b!,c of qcow2 {options} 4M" + W}, ["info a", "check a", "bitmap --remove a b", *AFTER])
       for options in OPTIONS]
    + [(f"bitmap_in_use/{action}_{kind}", files, [f"bitmap --{action} a b", *AFTER])
       for kind, files in KINDS.items() for action in ("add", "remove", "clear", "enable", "disable", "add --disable", "merge c", "merge b")]
    + [(f"bitmap_in_use/other_{action}", BOTH, [f"bitmap --{action} a c", *AFTER])
       for action in ("add", "remove", "clear", "enable", "disable", "merge b", "merge c", "clear --merge b", "disable --remove")]
    + [(f"bitmap_in_use/new_{action}", BOTH, [f"bitmap --{action} a n", *AFTER])
       for action in ("add", "add --disable", "add -g 4k", "add --merge b", "add --merge c", "add --merge c --merge b", "remove", "clear")]
    + [
        ("bitmap_in_use/remove_then_add", ALONE, ["bitmap --remove --add a b", *AFTER]),
        ("bitmap_in_use/add_after", BOTH, ["bitmap --remove a b", "bitmap --add a b", *AFTER]),
        ("bitmap_in_use/clear_then_remove", BOTH, ["bitmap --clear --remove a b", *AFTER]),
        ("bitmap_in_use/merge_from_other", BOTH | {"e": "qcow2 4M"}, ["bitmap --add e n", "bitmap --merge b -b a -F qcow2 e n",
                                                                      "bitmap --merge c -b a -F qcow2 e n", "info e", "info a"]),
        ("bitmap_in_use/merge_into_from_other", BOTH | {"e": "bitmaps n of qcow2 4M"}, ["bitmap --merge n -b e -F qcow2 a b", "bitmap --merge n -b e -F qcow2 a c",
                                                                                       *AFTER]),
        ("bitmap_in_use/write", BOTH | DATA, [FILL, *AFTER, "bitmap --remove a b", *AFTER]),
        ("bitmap_in_use/write_alone", ALONE | DATA, [FILL, *AFTER]),
        ("bitmap_in_use/measure", BOTH, ["measure -O qcow2 a", "measure --output=json -O qcow2 a", "measure -O raw a", "measure -O qcow2 -o cluster_size=512 a"]),
        ("bitmap_in_use/measure_alone", ALONE, ["measure -O qcow2 a", "measure --output=json -O qcow2 a", "measure -O qcow2 -o compat=0.10 a"]),
        ("bitmap_in_use/measure_disabled", DISABLED, ["measure -O qcow2 a"]),
        ("bitmap_in_use/compare", BOTH | DATA, ["compare a s", "compare a a"]),
        ("bitmap_in_use/convert", BOTH, ["convert -O qcow2 a d", "info d", "check -q d"]),
        ("bitmap_in_use/convert_raw", BOTH, ["convert -O raw a d"]),
        ("bitmap_in_use/convert_bitmaps", BOTH, [COPY, "info a"]),
        ("bitmap_in_use/convert_bitmaps_alone", ALONE, [COPY, "info a"]),
        ("bitmap_in_use/convert_bitmaps_skip", BOTH, [COPY + " --skip-broken-bitmaps", "info d", "check -q d", "info a"]),
        ("bitmap_in_use/convert_bitmaps_skip_alone", ALONE, [COPY + " --skip-broken-bitmaps", "info d", "check -q d"]),
        ("bitmap_in_use/convert_bitmaps_skip_all", {"a": "bitmaps b!,c!,e-! of qcow2 4M" + W}, [COPY + " --skip-broken-bitmaps", "info d", "check -q d"]),
        ("bitmap_in_use/convert_bitmaps_onto", BOTH | {"d": "bitmaps b! of qcow2 4M"}, ["convert -n --bitmaps --skip-broken-bitmaps -O qcow2 a d", "info d"]),
        ("bitmap_in_use/convert_bitmaps_onto_same", {"a": "bitmaps b of qcow2 4M", "d": "bitmaps b! of qcow2 4M"},
         ["convert -n --bitmaps -O qcow2 a d", "info d"]),
        ("bitmap_in_use/convert_onto", ALONE | DATA, [FILL, *AFTER]),
        ("bitmap_in_use/amend_compat", BOTH, ["amend -o compat=0.10 a", *AFTER]),
        ("bitmap_in_use/amend_compat_alone", ALONE, ["amend -o compat=0.10 a", *AFTER]),
        ("bitmap_in_use/amend_lazy", BOTH, ["amend -o lazy_refcounts=on a", *AFTER]),
        ("bitmap_in_use/amend_refcount_bits", BOTH, ["amend -o refcount_bits=64 a", *AFTER]),
        ("bitmap_in_use/amend_size", BOTH, ["amend -o size=8M a", *AFTER]),
        ("bitmap_in_use/resize", BOTH, ["resize a 8M", *AFTER]),
        ("bitmap_in_use/resize_alone", ALONE, ["resize a 8M", *AFTER]),
        ("bitmap_in_use/resize_disabled", DISABLED, ["resize a 8M", *AFTER]),
        ("bitmap_in_use/shrink", BOTH, ["resize --shrink a 1M", *AFTER]),
        ("bitmap_in_use/shrink_alone", ALONE, ["resize --shrink a 1M", *AFTER]),
        ("bitmap_in_use/resize_same", BOTH, ["resize a 4M", *AFTER]),
        ("bitmap_in_use/snapshot", BOTH, ["snapshot -c one a", "info a", "snapshot -a one a", "snapshot -l a", "snapshot -d one a", "info a", "check -q a"]),
        ("bitmap_in_use/snapshot_alone", ALONE, ["snapshot -c one a", "snapshot -a one a", "snapshot -d one a", *AFTER]),
        ("bitmap_in_use/rebase", BOTH | {"n": "4M 2M+1M"}, ["rebase -u -b n -F raw a", "info a", "rebase -b '' a", *AFTER]),
        ("bitmap_in_use/commit", {"n": "4M 2M+1M", "a": "bitmaps b!,c of qcow2 -b n -F raw 4M | write -P 9 1M 64K"}, ["commit a", *AFTER]),
        ("bitmap_in_use/commit_into", {"a": "bitmaps b!,c of qcow2 4M", "t": "qcow2 -b a -F qcow2 4M | write -P 9 1M 64K"}, ["commit t", *AFTER]),
        ("bitmap_in_use/dd", BOTH, ["dd -O qcow2 if=a of=d", "info d", "check -q d"]),
        ("bitmap_in_use/bench", BOTH, ["bench -w -c 10 -d 1 -s 4096 a", "info a", "check -q a"]),
    ]
)
