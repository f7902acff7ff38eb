A = {"a": "100000 0+100000"}  # 24 requests of 4 KiB reach up to 98304
M = {"a": "1M 0+1M"}
NUMBERS = ("0", "1", "10", "0x10", "010", "+5", "' 5'", "'5 '", "''", "x", "-1", "-0", "1k", "1.5", "2147483648", "4294967297", "18446744073709551617")
SIZES = ("0", "1", "512", "0x200", "1k", "1.5k", "+512", "x", "''", "-1", "3G", "2147483648", "9E", "16E", "0x1k")
CACHES = ("none", "off", "directsync", "writeback", "writethrough", "unsafe", "bogus", "''")

CASES = (
    [(f"bench/count_{n}", M, [f"bench -f raw -c {n} a"]) for n in NUMBERS]
    + [(f"bench/depth_{n}", M, [f"bench -f raw -c 20 -d {n} a"]) for n in NUMBERS if n not in ("0", "-0")]
    + [(f"bench/pattern_{n}", M, [f"bench -f raw -w -c 20 --pattern={n} a"]) for n in (*NUMBERS, "255", "256", "0xff")]
    + [(f"bench/interval_{n}", M, [f"bench -f raw -w -d 8 -c 20 --flush-interval={n} a"]) for n in NUMBERS]
    + [(f"bench/size_{n}", M, [f"bench -f raw -c 3 -s {n} a"]) for n in SIZES]
    + [(f"bench/step_{n}", M, [f"bench -f raw -c 3 -S {n} a"]) for n in SIZES]
    + [(f"bench/offset_{n}", M, [f"bench -f raw -c 3 -o {n} a"]) for n in SIZES]
    + [(f"bench/cache_{mode}", M, [f"bench -f raw -t {mode} -c 20 a", f"bench -f raw -w -t {mode} -c 20 a"]) for mode in CACHES]
    + [(f"bench/aio_{aio}", M, [f"bench -f raw -t none -i {aio} -c 20 a"]) for aio in ("threads", "native", "io_uring", "bogus", "''")]
    + [
        ("bench/defaults", M, ["bench -f raw -c 256 a"]),
        ("bench/write", M, ["bench -f raw -w -c 100 --pattern=0xa5 a"]),
        ("bench/write_step", M, ["bench -f raw -w -c 10 -S 70000 -s 1000 -o 77 --pattern=7 a"]),
        ("bench/write_wraps", M, ["bench -f raw -w -c 1000 -s 512 -S 6656 -d 3 --pattern=7 a"]),
        ("bench/write_into_hole", {"a": "1M"}, ["bench -f raw -w -c 10 -S 70000 --pattern=7 a"]),
        ("bench/write_odd", {"a": "1000 0+1000"}, ["bench -f raw -w -c 3 -s 300 --pattern=7 a"]),
        ("bench/write_guessed", A, ["bench -w -c 10 -o 4096 --pattern=7 a"]),
        ("bench/read_guessed", A, ["bench -c 10 a"]),
        ("bench/quiet", M, ["bench -q -f raw -c 10 a", "bench -q -w -c 10 -o 4k a"]),
        ("bench/flush", M, ["bench -f raw -w -c 200 --flush-interval=64 a", "bench -f raw -w -c 200 -d 10 --flush-interval=64 a"]),
        ("bench/flush_undrained", M, ["bench -f raw -w -c 200 --flush-interval=64 --no-drain a"]),
        ("bench/no_drain_alone", M, ["bench -f raw -w -c 20 --no-drain a", "bench -f raw -c 20 --no-drain a"]),
        ("bench/flush_without_write", M, ["bench -f raw --flush-interval=64 a", "bench -f raw --flush-interval=0 -c 5 a"]),
        ("bench/flush_below_depth", M, ["bench -f raw -w --flush-interval=63 a"]),
        ("bench/over_the_end", A, ["bench -f raw a"]),
        ("bench/over_the_end_written", A, ["bench -f raw -w -c 100 -d 1 --pattern=7 a"]),
        ("bench/begins_over_the_end", A, ["bench -f raw -c 10 -o 99999 a"]),
        ("bench/begins_behind_the_end", A, ["bench -f raw -c 10 -o 200000 a"]),
        ("bench/nothing_at_all", {"a": "0"}, ["bench -f raw -c 0 a"]),
        ("bench/native_needs_direct", M, ["bench -f raw -n -c 10 a", "bench -f raw -i native -c 10 a"]),
        ("bench/native_direct", M, ["bench -f raw -n -t none -c 10 a"]),
        ("bench/native_letter_and_name", M, ["bench -f raw -n -i threads -c 10 a"]),
        ("bench/shared", M, ["bench -U -f raw -c 10 a", "bench --force-share -f raw -c 10 a"]),
        ("bench/shared_write", M, ["bench -U -w -f raw -c 10 a"]),
        ("bench/no_operands", {}, ["bench"]),
        ("bench/two_operands", A, ["bench a a", "bench -c 10 a b"]),
        ("bench/missing", {}, ["bench a", "bench -f raw a", "bench -w a"]),
        ("bench/folder", {"a": "dir"}, ["bench -f raw a"]),
        ("bench/format_unknown", A, ["bench -f nosuch a"]),
        ("bench/unknown_option", A, ["bench -Z a", "bench --nosuch a", "bench --object x a"]),
        ("bench/argument_missing", A, ["bench a -c", "bench a --pattern"]),
        ("bench/abbreviated", M, ["bench --fl=64 -w -f raw -c 64 a", "bench --pat 3 -w -f raw -c 64 a", "bench --no -f raw -c 3 a"]),
        ("bench/qcow2_empty", {"a": "qcow2 1M"}, ["bench -c 20 a", "bench -f qcow2 -c 20 -t none a"]),
    ]
)
