#!/usr/bin/env python3
"""qcow2 images that QEMU wrote, read here: contents, info, map, compare.

For each set of options, and for several kinds of backing files, qemu-img makes an image and qemu-io
fills it with a random sequence of writes, compressed writes, zero writes and discards; snapshots and
bitmaps come between. Then `convert` to raw, `info`, `map` and `compare` must say what qemu-img says.
PLATTER_SEED=N replays.
"""

import os
import random
import subprocess
import sys
import tempfile

from support import KIB, MIB, PLATTER, QEMU_IMG, QEMU_IO, one_line

SEED = int(os.environ.get("PLATTER_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
SIZE = 24 * MIB
OPERATIONS = 40

OPTION_SETS = [
    "",
    "compat=0.10",
    "cluster_size=512",
    "cluster_size=1k,refcount_bits=1",
    "cluster_size=4k,refcount_bits=64",
    "cluster_size=2M",
    "cluster_size=1M,lazy_refcounts=on",
    "refcount_bits=8",
    "compression_type=zstd",
    "compression_type=zstd,cluster_size=4k",
    "compression_type=zstd,cluster_size=2M",
    "extended_l2=on",
    "extended_l2=on,cluster_size=16k",
    "extended_l2=on,cluster_size=2M,compression_type=zstd",
    "preallocation=metadata",
    "preallocation=falloc,cluster_size=32k",
    "preallocation=full,compat=0.10",
    "data_file=data.raw",
    "data_file=data.raw,data_file_raw=on",
    "data_file=data.raw,extended_l2=on",
]
# Format and size of the backing file; the image's own size is SIZE.
BACKINGS = [None, ("raw", SIZE), ("qcow2", SIZE), ("raw", SIZE // 2 + 512), ("qcow2", 2 * SIZE)]


def run(argv, folder):
    return subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=120, env=os.environ | {"LC_ALL": "C", "TZ": "UTC"})


def check_run(argv, folder):
    done = run(argv, folder)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: {done.stdout!r} {done.stderr!r}")


def random_commands(rng, size, compress):
    """qemu-io commands. Offsets are multiples of 512, most ranges small, some many clusters long."""
    if compress:
        # Whole clusters, first: QEMU compresses into unallocated clusters alone.
        for offset in rng.sample(range(0, size - 2 * MIB, 2 * MIB), 4):
            yield f"write -c -P {rng.randrange(1, 255)} {offset} {2 * MIB}"
    for _ in range(OPERATIONS):
        length = 512 * rng.randrange(1, rng.choice([8, 64, 256, 4096]))
        offset = 512 * rng.randrange(0, (size - length) // 512)
        kind = rng.choice(["write", "write", "write", "write -z", "write -z -u", "discard"])
        pattern = f"-P {rng.randrange(1, 255)} " if kind == "write" else ""
        yield f"{kind} {pattern}{offset} {length}"


def fill(folder, image, fmt, rng, size, compress):
    argv = [QEMU_IO, "-f", fmt, "-d", "unmap"]
    for command in random_commands(rng, size, compress):
        argv += ["-c", command]
    check_run(argv + [image], folder)


def make_image(folder, options, backing, rng):
    argv = [QEMU_IMG, "create", "-q", "-f", "qcow2"]
    if options:
        argv += ["-o", options]
    if backing:
        fmt, size = backing
        check_run([QEMU_IMG, "create", "-q", "-f", fmt, "base." + fmt, str(size)], folder)
        fill(folder, "base." + fmt, fmt, rng, size, compress=fmt == "qcow2")
        argv += ["-b", "base." + fmt, "-F", fmt]
    check_run(argv + ["image.qcow2", str(SIZE)], folder)
    own_data = "data_file" not in options
    compress = own_data and "preallocation" not in options
    fill(folder, "image.qcow2", "qcow2", rng, SIZE, compress)
    if own_data and "refcount_bits=1" not in options:
        check_run([QEMU_IMG, "snapshot", "-c", "first", "image.qcow2"], folder)
        fill(folder, "image.qcow2", "qcow2", rng, SIZE, compress=False)
    if "compat=0.10" not in options:
        check_run([QEMU_IMG, "bitmap", "--add", "image.qcow2", "changes"], folder)


def same_output(folder, *words):
    theirs = run([QEMU_IMG, *words], folder)
    ours = run([os.path.join(folder, "qemu-img"), *words], folder)
    for name in ("returncode", "stdout", "stderr"):
        a, b = getattr(theirs, name), getattr(ours, name)
        if a != b:
            raise AssertionError(f"{' '.join(words)}: {name}: qemu-img {a!r}, platter {b!r}")


def may_map(options):
    """qemu-img looks for holes below data clusters where it takes metadata to be preallocated, which it
    guesses from refcounts; with large clusters and data files it often does. Not done here."""
    return not any(text in options for text in ("M", "metadata", "data_file"))


def check_image(folder, options):
    check_run([QEMU_IMG, "convert", "-O", "raw", "image.qcow2", "theirs.raw"], folder)
    check_run([PLATTER, "convert", "-O", "raw", "image.qcow2", "ours.raw"], folder)
    check_run(["cmp", "theirs.raw", "ours.raw"], folder)
    commands = [["info"], ["info", "--output=json"], ["info", "--backing-chain"]]
    if may_map(options):
        commands += [["map"], ["map", "--output=json"],
                     ["map", "--output=json", "-s", "100k", "-l", "9M"]]
    for words in commands:
        same_output(folder, *words, "image.qcow2")
    same_output(folder, "compare", "image.qcow2", "theirs.raw")
    check_run([PLATTER, "compare", "image.qcow2", "theirs.raw"], folder)


def one_case(options, backing):
    name = f"qcow2_read[{options or 'defaults'}{' over %s %d' % backing if backing else ''}]"
    rng = random.Random(f"{SEED} {name}")
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(PLATTER, os.path.join(folder, "qemu-img"))
        try:
            make_image(folder, options, backing, rng)
            check_image(folder, options)
            print("PASS", name, flush=True)
        except Exception as why:  # noqa: BLE001  the other cases go on
            print("FAIL", name, f"PLATTER_SEED={SEED}", one_line(why), flush=True)
            return False
    return True


def refused(folder, words, text):
    done = run([PLATTER, *words], folder)
    message = done.stderr.decode(errors="replace")
    if done.returncode != 1 or text not in message or message.count("\n") > 2:
        raise AssertionError(f"{words}: exit {done.returncode}, {message!r}, wanted {text!r}")


def overlay(folder, name, backing, fmt="raw"):
    check_run([QEMU_IMG, "create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F", fmt, name, "1M"], folder)


def test_encrypted_images_are_described_but_not_read(folder):
    check_run([QEMU_IMG, "create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=x", "-o",
               "encrypt.format=aes,encrypt.key-secret=s", "a", "1M"], folder)
    check_run([PLATTER, "info", "a"], folder)
    refused(folder, ["convert", "a", "b"], "encrypted images (aes)")


def test_a_chain_that_bites_its_tail_is_refused(folder):
    overlay(folder, "a", "b", "qcow2")
    overlay(folder, "b", "a", "qcow2")
    refused(folder, ["map", "a"], "in the image's chain already")
    refused(folder, ["info", "--backing-chain", "a"], "infinite loop")


def test_a_name_that_is_no_path_is_not_followed(folder):
    for name in ("json:{\"driver\": \"null-co\"}", "nbd://localhost/x", "ssh:x"):
        overlay(folder, "a", name)
        refused(folder, ["convert", "a", "out"], "Unknown protocol")
        check_run([PLATTER, "info", "a"], folder)


def test_a_backing_device_that_is_no_disk_is_not_opened(folder):
    overlay(folder, "a", "/dev/zero")
    refused(folder, ["convert", "a", "out"], "character device")


def test_a_missing_backing_file_is_named(folder):
    overlay(folder, "a", "gone")
    refused(folder, ["convert", "a", "out"], "Could not open 'gone': No such file or directory")
    check_run([PLATTER, "info", "a"], folder)


def test_an_image_is_not_converted_onto_its_own_backing_file(folder):
    check_run([QEMU_IMG, "create", "-q", "-f", "raw", "base", "1M"], folder)
    overlay(folder, "a", "base")
    refused(folder, ["convert", "a", "base"], "lock")
    refused(folder, ["convert", "-U", "a", "base"], "is a source of this conversion")
    if os.path.getsize(os.path.join(folder, "base")) != MIB:
        raise AssertionError("the backing file was changed")


def run_named(test):
    name = "qcow2_read." + test.__name__.removeprefix("test_")
    with tempfile.TemporaryDirectory() as folder:
        try:
            test(folder)
            print("PASS", name, flush=True)
            return True
        except Exception as why:  # noqa: BLE001  the other cases go on
            print("FAIL", name, one_line(why), flush=True)
            return False


def main():
    print(f"seed {SEED}")
    good = True
    cases = [(options, None) for options in OPTION_SETS]
    for backing in BACKINGS[1:]:
        # A raw data file shows its contents without the backing file: the two exclude each other.
        usable = [o for o in OPTION_SETS if "data_file_raw" not in o]
        usable = [o for o in usable if "preallocation" not in o]
        cases += [(options, backing) for options in usable[:: 2 if backing[0] == "raw" else 3]]
    wanted = sys.argv[1:]
    for test in [value for key, value in globals().items() if key.startswith("test_")]:
        if not wanted or any(text in test.__name__ for text in wanted):
            good = run_named(test) and good
    for options, backing in cases:
        if not wanted or any(text in f"{options} {backing}" for text in wanted):
            good = one_case(options, backing) and good
    return 0 if good else 1


sys.exit(main())
