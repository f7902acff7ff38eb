#!/usr/bin/env python3
"""convert to qcow2 beside qemu-img: same exit code and messages; the images hold the same, tell the
same of themselves, and QEMU's check finds nothing.
"""

import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile

from support import KIB, MIB, PLATTER, QEMU_IMG, QEMU_IO, one_line

SEED = int(os.environ.get("PLATTER_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
SIZE = 8 * MIB + 512

# Options of convert; "s" is the source.
GOOD = [
    "", "-c", "-c -o compression_type=zstd", "-S 0", "-S 64k", "-W -m 4", "-C", "-t unsafe", "-o compat=0.10",
    "-o cluster_size=512", "-o cluster_size=4k,refcount_bits=1", "-o cluster_size=2M", "-c -o cluster_size=512",
    "-c -o cluster_size=2M", "-c -o compat=0.10,cluster_size=4k", "-o refcount_bits=64,cluster_size=4k", "-o extended_l2=on",
    "-o extended_l2=on,cluster_size=16k", "-c -o extended_l2=on", "-o preallocation=metadata", "-o preallocation=falloc",
    "-o preallocation=full", "-o lazy_refcounts=on", "-o data_file=d", "-o data_file=d,data_file_raw=on",
    "-o preallocation=metadata,cluster_size=4k", "-c -S 0",
]
SOURCES = ["raw", "qcow2", "overlay"]
# With a backing file: what the source leaves to it is left to it.
OVER_BACKING = ["-B base -F raw", "-o backing_file=base,backing_fmt=raw", "-c -B base -F raw",
                "-B base -F raw -o cluster_size=4k", "-B base -F raw -o extended_l2=on", "-B short -F raw"]
WRONG = [
    "-B base s t", "-B nosuch -F raw s t", "-o cluster_size=3 s t", "-o bogus=1 s t", "-c -o preallocation=metadata s t",
    "-B base -F nosuch s t", "-o compat=2 s t", "-o refcount_bits=3 s t", "nosuch t", "-o compression_type=lzo s t",
    "-o extended_l2=on,cluster_size=4k s t", "-o compat=0.10,lazy_refcounts=on s t", "-c -C s t", "s nosuch/t",
    "-o cluster_size=512,refcount_bits=64,data_file_raw=on s t", "-B s -F raw s s",
]


def run(argv, folder, check=True):
    done = subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=120,
                          env=os.environ | {"LC_ALL": "C"})
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: {done.stdout!r} {done.stderr!r}")
    return done


def fill(rng, folder, name, fmt, compress=False):
    commands = []
    for _ in range(12):
        offset = rng.randrange(0, SIZE // 512) * 512
        length = min(rng.choice((512, 4 * KIB, 60 * KIB, 200 * KIB, MIB)), SIZE - offset)
        kind = rng.choice(("write -P %d" % rng.randrange(1, 256), "write -P 0", "write -z", "discard"))
        commands += ["-c", f"{kind} {offset} {length}"]
    if compress:  # QEMU takes it only where nothing was written
        commands = ["-c", "write -c -P 77 2M 1M", *commands]
    run([QEMU_IO, "-f", fmt, *commands, name], folder)


def make_sources(folder):
    rng = random.Random(SEED)
    for name, size in (("base", SIZE), ("short", 2 * MIB), ("raw", SIZE)):
        run([QEMU_IMG, "create", "-q", "-f", "raw", name, str(size)], folder)
    fill(rng, folder, "raw", "raw")
    run([QEMU_IO, "-f", "raw", "-c", "write -P 9 0 1M", "-c", f"write -P 8 {4 * MIB} 1M", "base"], folder)
    run([QEMU_IO, "-f", "raw", "-c", "write -P 9 0 1M", "short"], folder)
    run([QEMU_IMG, "create", "-q", "-f", "qcow2", "qcow2", str(SIZE)], folder)
    fill(rng, folder, "qcow2", "qcow2", compress=True)
    for name, base in (("overlay", "base"), ("over_short", "short")):
        run([QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", name, str(SIZE)], folder)
        fill(rng, folder, name, "qcow2")
    os.symlink("raw", os.path.join(folder, "s"))


def info_of(folder, name):
    info = json.loads(run([QEMU_IMG, "info", "--output=json", name], folder).stdout)
    for key in ("actual-size", "filename"):
        info.pop(key)
    info["format-specific"]["data"].pop("data-file", None)
    return info


def convert_both(folder, options, source):
    """Each tool into a folder of its own, so that names of data files are equal."""
    results = []
    for tool in (QEMU_IMG, PLATTER):
        for name in ("t", "d"):
            if os.path.exists(os.path.join(folder, name)):
                os.unlink(os.path.join(folder, name))
        run([tool, "convert", "-O", "qcow2", *shlex.split(options), source, "t"], folder)
        check = run([QEMU_IMG, "check", "-f", "qcow2", "t"], folder, check=False)
        if check.returncode != 0:
            raise AssertionError(f"{tool}: {check.stdout!r} {check.stderr!r}")
        run([QEMU_IMG, "compare", "-f", "raw" if source == "raw" else "qcow2", "-F", "qcow2", source, "t"], folder)
        results.append(info_of(folder, "t"))
    theirs, ours = results
    if ours != theirs:
        raise AssertionError(f"info: {ours}, qemu-img: {theirs}")


def wrong_both(folder, words):
    results = []
    for tool in (QEMU_IMG, os.path.join(folder, "qemu-img")):
        work = os.path.join(folder, "work")
        os.mkdir(work)
        for name in ("s", "base"):
            os.symlink(os.path.join(folder, "raw" if name == "s" else name), os.path.join(work, name))
        done = run([tool, "convert", "-O", "qcow2", *shlex.split(words)], work, check=False)
        left = sorted(os.listdir(work))
        shutil.rmtree(work)
        results.append((done.returncode, done.stdout, done.stderr.replace(b"\n", b" "), left))
    theirs, ours = results
    if ours[0] != 1 or theirs[0] != 1:
        raise AssertionError(f"{ours}, qemu-img: {theirs}")
    if ours[3] != ["base", "s"]:
        raise AssertionError(f"something is left: {ours[3]}")
    return ours[2], theirs[2]


def test_existing_target(folder):
    for options in ("", "-c"):
        run([QEMU_IMG, "create", "-q", "-f", "qcow2", "t", str(SIZE)], folder)
        run([QEMU_IO, "-f", "qcow2", "-c", "write -P 3 1M 6M", "t"], folder)
        run([PLATTER, "convert", "-n", *options.split(), "-O", "qcow2", "s", "t"], folder)
        run([QEMU_IMG, "check", "t"], folder)
        run([QEMU_IMG, "compare", "-f", "raw", "-F", "qcow2", "s", "t"], folder)
        os.unlink(os.path.join(folder, "t"))


def test_over_an_existing_file(folder):
    run([QEMU_IMG, "create", "-q", "-f", "qcow2", "t", "64M"], folder)
    run([QEMU_IO, "-f", "qcow2", "-c", "write -P 3 1M 6M", "t"], folder)
    inode = os.stat(os.path.join(folder, "t")).st_ino
    run([PLATTER, "convert", "-O", "qcow2", "s", "t"], folder)
    assert os.stat(os.path.join(folder, "t")).st_ino == inode
    run([QEMU_IMG, "check", "t"], folder)
    run([QEMU_IMG, "compare", "-f", "raw", "-F", "qcow2", "s", "t"], folder)
    os.unlink(os.path.join(folder, "t"))


def test_several_sources_with_backing_files(folder):
    run([PLATTER, "convert", "-O", "qcow2", "overlay", "qcow2", "t"], folder)
    run([QEMU_IMG, "convert", "-O", "raw", "overlay", "qcow2", "r"], folder)
    run([QEMU_IMG, "compare", "-f", "raw", "-F", "qcow2", "r", "t"], folder)
    for name in ("t", "r"):
        os.unlink(os.path.join(folder, name))


def cases(folder):
    for options in GOOD:
        for source in SOURCES:
            if "data_file" in options and source != "raw":
                continue
            yield f"{options or 'defaults'} of {source}", lambda o=options, s=source: convert_both(folder, o, s)
    for options in OVER_BACKING:
        source = "over_short" if "short" in options else "overlay"
        yield f"{options} of {source}", lambda o=options, s=source: convert_both(folder, o, s)
    for words in WRONG:
        def check(words=words):
            ours, theirs = wrong_both(folder, words)
            if ours != theirs:
                raise AssertionError(f"{ours}, qemu-img: {theirs}")
        yield f"wrong: {words}", check
    for test in (test_existing_target, test_over_an_existing_file, test_several_sources_with_backing_files):
        yield test.__name__.removeprefix("test_"), lambda t=test: t(folder)


def main():
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        make_sources(folder)
        os.symlink(PLATTER, os.path.join(folder, "qemu-img"))
        for name, case in cases(folder):
            try:
                case()
                print(f"PASS qcow2_convert[{name}]", flush=True)
            except Exception as why:  # noqa: BLE001  the other cases go on
                failed = True
                print(f"FAIL qcow2_convert[{name}] PLATTER_SEED={SEED} {one_line(why)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
