"""Sequences of commands for qemu-io and `platter io`.

A command that leaves a request in flight is followed by aio_flush before the next one that prints: which
comes first is nobody's promise.
"""

import random

RAW = {"a": "1M 0+1M"}
HOLE = {"a": "1M"}
ODD = {"a": "100000 0+100000"}
QCOW2 = {"a": "qcow2 4M"}


def run(options, *commands, file="a"):
    """The words of one call."""
    return [*options.split(), *(word for command in commands for word in ("-c", command)), *([file] if file else [])]


def typed(options, *lines, file="a", end="\n"):
    """A call whose commands are typed."""
    return (run(options, file=file), "\n".join(lines) + end)


def each(name, files, options, commands):
    """A case for each command, on an image of its own."""
    return [(f"io/{name}_{number}", files, [run(options, *([c] if isinstance(c, str) else c))]) for number, c in enumerate(commands)]


NUMBERS = ("0", "512", "0x200", "1k", "1.5k", "+512", "x", "''", "-1", "1kk", "3", "1B", "1M", "1023k", "2M", "8E", "16E", "9223372036854775807")
LENGTHS = ("0", "1", "512", "1025k", "2147483136", "2147483137", "2G", "3G", "x", "9E", "20E", "1.5", "1.5k")
PATTERNS = ("0", "1", "255", "256", "0xa5", "010", "xx", "-1", "''", "1k", "0x1f3")
VECTORS = ("0 512", "0 1k 2k", "0 0", "0 512 x", "x 512", "0", "0 3G", "0 1G 1G", "512k 512k 512k", "3 5 7", "0 1 1 1 1")

SYNTAX = (
    "read", "read 0", "read 0 1k 3", "  read  0   512  ", "\tread 0 512", "read\t0 512", "read '0' 512", 'read "0" 512', "", "   ", "# x",
    "read 0 512 # x", "#read 0 512", "foo", "foo bar", "READ 0 512", "read -- 0 512", "read 0 512 -q", "read -q0 512", "read -a 0 512",
    "read -Z 0 512", "read -P", "read 0 -P", "read 0 512 -P", "read -P5 0 512", "read -qP 0 0 512", "write -Z 0 512", "writev -b 0 512", "readv -b 0 512",
    "aio_read -x 0 512", "r 0 512", "w 0 512", "l", "a 0", "d 0 512", "f", "i", "q", "t 1M", "c", "rv 0 512", "?x", "help foo", "help a b", "length x",
    "flush 1", "map x", "info x", "alloc", "alloc 0 1 2", "truncate", "truncate 0 1 2 3", "close 1", "aio_flush x", "sleep", "sleep 1 2", "sleep x",
    "sleep -1", "sleep 1.5", "sleep 10ms", "sleep 0x1", "sleep 0", "break x", "resume", "remove_break", "wait_break", "abort 1", "sigraise", "sigraise x",
    "sigraise 0", "sigraise 99", "sigraise -1", "break write_aio A", "resume A", "remove_break A",
)

READS = (
    "read -C 0 1k", "read -q 0 1k", "read -qv 0 16", "read -Cv 0 16", "read -v 0 48", "read -v 3 20", "read -p 0 512", "read -s 1k 0 4k",
    "read -l 1k 0 4k", "read -P 0 -s 1k 0 4k", "read -P 0 -s 3k -l 2k 0 4k", "read -P 0 -l 5k 0 4k", "read -P 0 -s 5k 0 4k", "read -P 0 -l 0 0 4k",
    "read -P 0 -s 8191P -l 2 0 4", "read -P 3 -s x 0 4", "read -P 3 -l x 0 4", "read -P 0x2f -s 1 -l 1 0 512", "readv -v 0 20 20", "readv -P 0 0 1k 2k",
    "readv -C 0 1k", "readv -q 0 1k", "readv -qv 0 1k", ["aio_read -v 0 20 20", "aio_flush"], ["aio_read -P 3 0 512", "aio_flush"],
    ["aio_read -C 0 4k", "aio_flush"], ["aio_read -q 0 4k", "aio_flush"], ["aio_read -i 0 4k"], ["aio_read 1M 512", "aio_flush"],
    ["aio_read 0 0", "aio_flush"], "read -b 3 512", "read -b 0 5",
)

WRITES = (
    "write -P 5 -z 0 4k", "write -z 0 4k", "write -z -u 0 4k", "write -u 0 4k", "write -n 0 4k", "write -z -n 0 4k", "write -zun 0 64k", "write -zq 1 70000",
    "write -b -z 0 4k", "write -b -c -f 0 512", "write -b -z -f 0 512", "write -u -n 0 512", "write -n -P 4 -s x 0 512", "write -P 4 -s x y z", "write -f 0 4k",
    "write -c -f 0 64k", "write -z -f 0 4k", "write -p 0 4k", "write -C 0 4k", "write -q 0 4k", "write -Cq 0 4k", "write -P 4 -P 5 0 512", "write -z 0 4G",
    "write -zn 0 4G", "write -zn 0 9E", "write -s nofile 0 4k", "write -s . 0 10", "write -s x y z", "write -s x 0 4G", "write -z -c 0 100", "write -b 3 512",
    "write -b 0 7", "writev -f 0 512", "writev -C 0 512 512", "writev -q 0 512", "writev -P 3 0 512 1k", ["aio_write -P 3 0 4k 4k", "aio_flush"],
    ["aio_write -z 0 64k", "aio_flush"], ["aio_write -zu 0 64k", "aio_flush"], "aio_write -u 0 64k", "aio_write -z 0 64k 64k", "aio_write -zu 0",
    ["aio_write -z -P 4 0 64k", "aio_flush"], "aio_write -i 0 4k", "aio_write -zi 0 x", ["aio_write -f 0 4k", "aio_flush"], ["aio_write 1M 512", "aio_flush"],
    ["aio_write -z 0 3G", "aio_flush"], ["aio_write -C 0 4k", "aio_flush"], ["aio_write -q 0 4k", "aio_flush"], ["aio_write 0 0", "aio_flush"],
    "discard -C 0 4k", "discard -q 0 4k", "discard 0 3G", "discard 0 2M", "discard 1M 512", "discard 3 5", "discard 0 0", "discard -z 0 4k", "discard -1 5",
)

ALLOC = ("0", "0 512", "0 4M", "0 8M", "4M", "4M 512", "8M", "x", "0 x", "3 512", "0 3", "-1", "64k 64k", "0 256k", "60k 64k", "0 9E", "0 0", "1M 3M", "200k 1M")
SIZES = ("2M", "8M", "1000", "512k", "0", "4M", "9E", "x", "-m off 6M", "-m falloc 6M", "-m full 6M", "-m metadata 6M", "-m foo 6M", "-x 6M", "-m full", "6M -m falloc")

# What was done to an image decides what it shows: one sequence each for many kinds of images.
WALK = (
    "write -P 1 0 64k", "write -P 2 70000 3000", "map", "write -z 128k 64k", "write -zu 256k 128k", "write -P 3 384k 100k", "map", "alloc 0 4M", "discard 64k 64k",
    "read -P 0 128k 64k", "read -P 1 0 64k", "read -P 3 384k 100k", "read -v 69990 32", "writev -P 7 1M 512 512 7", "readv -P 7 1M 1031", "read 3M 1M", "flush",
    "truncate 5M", "length", "write -P 9 4608k 64k", "read -P 9 4608k 64k", "read -P 0 4672k 64k", "alloc 4M 1M", "map", "reopen -r", "read -P 1 0 64k", "write 0 512", "reopen -w",
    "write -P 4 0 512", "read -P 4 0 512", "read -P 1 512 512", "aio_write -P 5 2M 128k", "aio_flush", "aio_read -P 5 2M 128k", "aio_flush", "map",
)
KINDS = {
    "plain": "qcow2 4M", "v2": "qcow2 -o compat=0.10 4M", "clusters_512": "qcow2 -o cluster_size=512 4M", "clusters_4k": "qcow2 -o cluster_size=4k 4M",
    "clusters_2M": "qcow2 -o cluster_size=2M 4M", "extended": "qcow2 -o extended_l2=on 4M", "extended_16k": "qcow2 -o extended_l2=on,cluster_size=16k 4M",
    "counts_1": "qcow2 -o refcount_bits=1 4M", "counts_64": "qcow2 -o refcount_bits=64 4M", "lazy": "qcow2 -o lazy_refcounts=on 4M",
    "metadata": "qcow2 -o preallocation=metadata 4M", "zstd": "qcow2 -o compression_type=zstd 4M", "raw": "4M 0+4M", "raw_hole": "4M",
}
BACKED = {"base": "qcow2 4M", "a": "qcow2 -b base -F qcow2 4M"}
BACKED_SHORT = {"base": "300000 0+300000", "a": "qcow2 -b base -F raw 4M"}
FILL = run("-f qcow2", "write -P 0x11 0 1M", "write -P 0x22 2M 100000", file="base")

COMPRESSED = (
    "write -c -P 1 0 64k", "write -c 64k 128k", "write -c 960k 64k", "write -c 0 4k", "write -c 4k 64k", "write -c 3 64k", "write -c 0 100", "write -c 4032k 64k",
    "write -c 4M 64k", "write -cC -P 8 1M 64k", "map", "read -P 1 0 64k", "read -P 0xcd 64k 128k", "write -P 2 1000 1000", "read -P 2 1000 1000", "read -P 1 2000 1000", "alloc 0 1M",
)

SCRIPTS = {
    # As tests of QEMU's block layer are written: a pattern for each place, then each is looked for.
    "patterns": [f"write -P {n + 1} {n * 65536 + n * 512} {1024 * (n + 1)}" for n in range(16)]
    + [f"read -P {n + 1} {n * 65536 + n * 512} {1024 * (n + 1)}" for n in range(16)]
    + [f"read -P 0 {n * 65536 + n * 512 + 1024 * (n + 1)} 512" for n in range(15)],
    "overwrites": [f"write -P {n} {n * 32768} 64k" for n in range(1, 32)] + [f"read -P {n} {n * 32768} 32k" for n in range(1, 32)] + ["map"],
    "zeroes": ["write -P 0xaa 0 1M", "write -z 64k 64k", "write -z 200k 10k", "read -P 0 64k 64k", "read -P 0xaa 0 64k", "read -P 0 200k 10k", "read -P 0xaa 210k 10k", "map", "alloc 0 1M"],
    "discards": ["write -P 0xaa 0 1M", "discard 0 512k", "read -P 0 0 512k", "read -P 0xaa 512k 512k", "map", "discard 100 1M", "read -P 0xaa 0 1k", "map"],
    "in_flight": [line for n in range(12) for line in (f"aio_write -P {n + 1} {n * 128}k 64k", "aio_flush")]
    + [line for n in range(12) for line in (f"aio_read -P {n + 1} {n * 128}k 64k", "aio_flush")],
    "reopens": ["write -P 1 0 4k", "reopen -r", "write -P 2 0 4k", "read -P 1 0 4k", "reopen -w", "write -P 2 0 4k", "reopen -c none", "read -P 2 0 4k", "reopen -c writeback", "length"],
    "sizes": ["length", "truncate 6M", "length", "write -P 1 5M 64k", "read -P 1 5M 64k", "truncate 4M", "length", "read 5M 64k", "truncate 6M", "read -P 0 5M 64k", "info"],
    "quiet": ["write -q -P 3 0 1M", "read -q -P 3 0 1M", "discard -q 0 64k", "quit", "length"],
    "mistakes": ["foo", "read", "read x y", "", "   ", "#", "write 4M 1", "length"],
}


def random_sequence(seed):
    """Requests of all sorts within 4 MiB and now and then past its end; sizes and places of all alignments."""
    draw = random.Random(seed)

    def place():
        return draw.choice((1, 512, 4096, 65536)) * draw.randrange(0, 70) + draw.randrange(0, 3) * 1024 * 1024

    def length():
        return draw.choice((draw.randrange(0, 5000), 512 * draw.randrange(1, 200), 65536 * draw.randrange(1, 10)))

    lines = []
    for _ in range(40):
        at, count, byte = place(), length(), draw.randrange(1, 256)
        lines += draw.choice((
            [f"write -P {byte} {at} {count}"], [f"write -P {byte} {at} {count}", f"read -P {byte} {at} {count}"], [f"write -z {at} {count}"],
            [f"write -zu {at} {count}"], [f"writev -P {byte} {at} {count} 700 {count}"], [f"aio_write -P {byte} {at} {count}", "aio_flush"],
            [f"read -v {at} {count % 100}"], [f"read -P {byte} -s {count // 3} {at} {count}"], [f"alloc {at} {count}"], ["map"], ["flush"],
            [f"readv -P {byte} {at} {count} 3"], [f"aio_read -v {at} {count % 100}", "aio_flush"], ["length"],
        ))
    return lines


# Not version 2: see differences.py. What differs there does not show in each sequence.
RANDOM_KINDS = [*(kind for kind in KINDS.items() if kind[0] != "v2"), ("backed", BACKED), ("backed_short", BACKED_SHORT)]


def random_case(seed):
    kind, files = RANDOM_KINDS[seed % len(RANDOM_KINDS)]
    files = files if isinstance(files, dict) else {"a": files}
    options = "-f raw" if kind.startswith("raw") else "-f qcow2"
    call = typed(options, *random_sequence(seed)) if seed % 2 else run(options, *random_sequence(seed))
    return (f"io/random_{seed}_{kind}", files, [*([FILL] if kind == "backed" else []), call])


CASES = (
    each("syntax", RAW, "-f raw", SYNTAX)
    + each("read_at", RAW, "-f raw", [f"read {n} 512" for n in NUMBERS])
    + each("read_length", RAW, "-f raw", [f"read 0 {n}" for n in LENGTHS])
    + each("read_pattern", RAW, "-f raw", [f"read -P {n} 0 512" for n in PATTERNS])
    + each("read", HOLE, "-f raw", READS)
    + each("readv", RAW, "-f raw", ["readv " + v for v in VECTORS])
    + each("aio_read_vector", RAW, "-f raw", [["aio_read " + v, "aio_flush"] for v in VECTORS])
    + each("write_at", HOLE, "-f raw", [f"write {n} 512" for n in NUMBERS])
    + each("write_length", HOLE, "-f raw", [f"write 0 {n}" for n in LENGTHS])
    + each("write_pattern", HOLE, "-f raw", [f"write -P {n} 0 512" for n in PATTERNS])
    + each("write", RAW, "-f raw", WRITES)
    + each("write_qcow2", QCOW2, "-f qcow2", [w for w in WRITES if "-b" not in w])
    + each("writev", HOLE, "-f raw", ["writev -P 3 " + v for v in VECTORS])
    + each("aio_write_vector", HOLE, "-f raw", [["aio_write -P 3 " + v, "aio_flush"] for v in VECTORS])
    + [(f"io/alloc_{n}", QCOW2, [run("", "write -q 64k 100k", "write -zq 1M 64k", f"alloc {n}")]) for n in ALLOC]
    + [(f"io/truncate_{s}", files, [run(f"-f {form}", f"truncate {s}", "length", "map")]) for form, files in (("qcow2", QCOW2),) for s in SIZES]
    + [(f"io/truncate_raw_{s}", {"a": "4M 0+4M"}, [run("-f raw", f"truncate {s}", "length", "map")]) for s in SIZES]
    + [(f"io/walk_{kind}", {"a": made}, [run("-f raw" if kind.startswith("raw") else "", *WALK)]) for kind, made in KINDS.items()]
    + [("io/walk_backed", BACKED, [FILL, run("", *WALK), run("", "map", "read 0 4M", file="base")])]
    + [("io/walk_backed_short", BACKED_SHORT, [run("", *WALK)])]
    + [(f"io/compressed_{kind}", {"a": made}, [run("", *COMPRESSED)]) for kind, made in KINDS.items() if kind in ("plain", "v2", "zstd", "extended")]
    + [(f"io/script_{name}", QCOW2, [typed("-f qcow2", *lines)]) for name, lines in SCRIPTS.items()]
    + [(f"io/script_backed_{name}", BACKED, [FILL, typed("", *lines)]) for name, lines in SCRIPTS.items()]
    + [random_case(seed) for seed in range(32)]
    + [
        ("io/write_from_file", HOLE | {"p": "3 0+3", "e": "0"}, [run("-f raw", "write -s p 0 10", "read -v 0 16", "write -s e 0 10", "write -s p 0 0", "write -s p 3 5")]),
        ("io/odd_raw", ODD, [run("-f raw", "length", "map", "read -v 99990 30", "write -P 65 99995 20", "read -v 99990 30", "alloc 99000 4k", "discard 99840 512", "truncate 700", "length")]),
        ("io/odd_raw_end", ODD, [run("-f raw", "write 100000 353", "write 100352 1", "read 100351 1", "read 100352 1", "write -z 99000 1352", "length")]),
        ("io/nothing", {"a": "0"}, [run("-f raw", "length", "map", "alloc 0", "read 0 0", "write 0 1", "read 0 1", "info")]),
        ("io/nothing_qcow2", {"a": "qcow2 0"}, [run("", "length", "map", "alloc 0", "read 0 0", "write 0 1", "info")]),
        ("io/read_only", RAW, [run("-r -f raw", "write 0 4k", "read 0 4k", "write -z 0 4k", "discard 0 4k", "truncate 2M", "flush", "aio_write 0 4k", "aio_flush", "writev 0 512", "write -Z", "write", "length", "map")]),
        ("io/read_only_qcow2", QCOW2, [run("-r", "write 0 4k", "read 0 4k", "map", "info", "reopen -w", "write 0 4k", "reopen -r", "write 0 4k")]),
        ("io/guessed", RAW, [run("", "read 0 512", "write -P 1 0 512", "write 512 512", "write 3 100", "write -z 0 512", "aio_write 0 512", "aio_flush")]),
        ("io/guessed_signature", RAW | {"q": "qcow2 1M"}, [run("", "write -s q 0 512", "write -s q 0 100", "write -s q 0 4k", "read -v 0 16", "write -s q 512 512"), run("-f raw", "write -s q 0 512"), run("-r", "info")]),
        ("io/guessed_read_only", RAW, [run("-r", "read 0 512")]),
        ("io/info", {kind: made for kind, made in KINDS.items()} | ODD, [run("-r", "info", file=kind) for kind in KINDS if "raw" not in kind] + [run("-f raw", "info")]),
        ("io/info_sizes", {f"a{n}": f"qcow2 {n}" for n in ("0", "512M", "513M", "1G", "1T")}, [run("", "info", "length", file=f"a{n}") for n in ("0", "512M", "513M", "1G", "1T")]),
        ("io/snapshot_overlay", RAW, [run("-s -f raw", "write -P 9 0 4k", "read -P 9 0 4k", "read 4k 4k", "info", "map"), run("-f raw", "read -v 0 16")]),
        ("io/snapshot_qcow2", QCOW2, [run("", "write -P 1 0 64k"), run("-s", "write -P 9 0 4k", "read -P 9 0 4k", "read -P 1 4k 4k", "discard 0 64k"), run("", "read -P 1 0 64k")]),
        ("io/snapshot_read_only", QCOW2, [run("-s -r", "write 0 4k", "read 0 4k")]),
        ("io/copy_on_read", BACKED, [FILL, run("-C", "read -P 0x11 1000 1000", "map", "read -P 0x22 2M 70000", "read 3M 64k", "map", "write -P 3 0 512", "read -P 3 0 512", "map")]),
        ("io/copy_on_read_only", QCOW2, [run("-C -r", "length"), run("-C", "length", "read 0 64k", "map")]),
        ("io/misaligned", RAW, [run("-m -f raw", "write -P 1 0 4k", "read -P 1 0 4k"), run("-m -n -f raw", "write -P 2 0 4k", "read -P 2 0 4k", "writev -P 3 512 512 512", "readv -P 3 512 1k")]),
        ("io/discard_off", {"a": "1M 0+1M"}, [run("-d ignore -f raw", "discard 0 64k", "read -v 0 16", "write -zu 64k 64k"), run("-d off -f raw", "discard 0 64k")]),
        ("io/discard_on", QCOW2, [run("-d unmap", "write -q 0 1M", "discard 0 64k", "map"), run("-d on", "discard 64k 64k", "map")]),
        ("io/open_close", RAW, [run("", "length", "open -o driver=raw a", "length", "open a", "close", "close", "length", "open -r a", "write 0 4k", "close", "open -rn -o driver=raw a", "length", file=None)]),
        ("io/open_options", QCOW2, [run("", "open -s a", "write 0 4k", "close", "open -C a", "close", "open -k a", "open -k -n a", "close", "open -i foo a", "open -i threads a", "close", "open -i native a", "open -t foo a", "open -d foo a", "open -d unmap a", "close", "open -t unsafe a", "close", "open -U a", "open -rU a", "length", "close", "open -x a", "open a b", "open -o driver=qcow2 a", "close", "open -o driver=qcow2,file.filename=a", "length", "close", "open -o driver=foo a", "open -o read-only=on a", "open -o driver=qcow2,foo=bar a", "open", "open -o", "open -r", "open -o lazy-refcounts=on a", "length", file=None)]),
        ("io/open_missing", {}, [run("", "open b", "length", file=None), run("", "length")]),
        ("io/open_while_open", RAW, [run("-f raw", "open a", "open b", "open -t foo b", "length")]),
        ("io/reopen", RAW, [run("-f raw", "reopen", "reopen -r", "reopen -r", "write 0 512", "reopen -w", "write 0 512", "reopen -rw", "reopen -c none", "reopen -c foo", "reopen -c unsafe", "reopen -o foo=bar", "reopen -x", "reopen x", "reopen -r -o read-only=off", "reopen -o cache.direct=on", "reopen -c none -o cache.direct=off", "reopen -o driver=raw", "reopen -o driver=qcow2", "reopen -o discard=unmap", "reopen -o locking=on", "reopen -o force-share=on", "reopen -o node-name=x", "reopen -o discard=x", "reopen -o read-only=x", "length")]),
        ("io/reopen_qcow2", QCOW2, [run("", "write -P 1 0 64k", "reopen -o lazy-refcounts=on", "read -P 1 0 64k", "reopen -o l2-cache-size=1M", "reopen -o overlap-check=all", "reopen -o foo=bar", "reopen -r", "write 0 512", "read -P 1 0 64k")]),
        ("io/exit_codes", RAW, [run("-f raw", "foo", "length"), run("-f raw", "length"), run("-f raw", "read -P 1 0 512"), run("-f raw", "aio_read -P 1 0 512", "aio_flush"), run("-f raw", "foo", "quit", "length"), run("-f raw", "quit 1 2", "foo")]),
        ("io/kill", QCOW2, [run("", "write -q 0 64k", "flush", "sigraise 9"), run("-r -U", "read 0 64k")]),
        ("io/options_modes", RAW, [run(f"-f raw {o}", "length") for o in ("-n", "-k", "-k -n", "-i foo", "-i native", "-i threads", "-i io_uring", "-t foo", "-t none", "-t off", "-t writethrough", "-t directsync", "-t unsafe", "-d foo", "-d unmap", "-U", "-U -r", "--cache=none", "--discard unmap", "--read-only", "--nocache", "--misalign", "--aio=threads")]),
        ("io/options_format", QCOW2, [run("-f raw", "length"), run("-f foo", "length"), run("--format=qcow2", "length"), run("-f raw -f qcow2", "length"), run("--form qcow2", "length"), run("--cmd length"), run("--cmd=length")]),
        ("io/options_format_wrong", RAW, [run("-f qcow2", "length")]),
        ("io/options_names", RAW, [run("-f raw", "length", file="b"), run("", "length", file="foo:a"), run("-f raw", "length", file="file:a"), ["-c", "length", "-f", "raw", "--", "a"]]),
        ("io/options_name_empty", RAW, [["-f", "raw", "-c", "length", ""]]),
        ("io/options_fifo", {"f": "fifo"}, [run("-f raw", "length", file="f")]),
        ("io/options_folder", {"d": "dir"}, [run("-f raw", "length", file="d")]),
        ("io/options_wrong", RAW, [["-Z"], ["--foo"], ["-f"], ["-c"], ["a", "b"], ["a", "-c", "length", "b"]]),
        ("io/options_help", RAW, [["-h"], ["--help"], ["-V"], ["--version"], run("-f raw", "help read")]),
        ("io/trace", RAW, [run("-f raw -T foo", "length")]),
        ("io/help", RAW, [run("", "help", file=None), run("", "?", file=None)]),
        ("io/help_command", RAW, [run("", "help length", "help flush", "help alloc", "help sleep", "help quit", file=None)]),
        ("io/vm_state", QCOW2, [run("", "write -b -P 3 0 512", "read -b -P 3 0 512")]),
        ("io/vm_state_raw", RAW, [run("-f raw", "write -b 0 512", "read -b 0 512", "write -c 0 64k")]),
        ("io/typed_end", RAW, [typed("-f raw", "length", end=""), typed("-f raw", "foo", "length"), typed("", "length", file=None), typed("-f raw", end=""), typed("-f raw", "quit", "length"), typed("-f raw", "close", "length", "open -o driver=raw a", "length")]),
    ]
)
