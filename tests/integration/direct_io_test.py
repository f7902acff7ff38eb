#!/usr/bin/env python3
"""The page cache, memory, block devices, sharing of blocks, preallocation, and threads for io_uring."""

import ctypes
import mmap
import os
import re
import subprocess
import sys
import time

import seccomp
import support
from support import (
    KIB, MIB, Skip, allocated, check_fails, check_ok, contents, digest_of, names_in, pattern, run, sh, start,
    text_of, write_layout,
)

DATA = "24M 0+5M 6M+4M 12582400+700 16M+8M"  # with ends that lie within blocks


def cached_bytes(path):
    """Of a file: how much the page cache holds."""
    size = os.path.getsize(path)
    pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    with open(path, "rb") as file:
        address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    vector = (ctypes.c_ubyte * pages)()
    assert libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), vector) == 0
    libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))
    return sum(byte & 1 for byte in vector) * mmap.PAGESIZE


def drop_cache(*paths):
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# --- the page cache


def test_page_cache_is_left_alone(cleanup):
    folder = cleanup.folder()
    source, target = write_layout(folder + "/s", "16M 0+16M"), folder + "/t"
    drop_cache(source)
    if cached_bytes(source):
        raise Skip("this filesystem keeps its pages")
    for words in ((), ("-n",), ("-m", "16", "-W"), ("-S", "64k"), ("-o", "preallocation=full")):
        if "-n" not in words and os.path.exists(target):
            os.unlink(target)
        check_ok(run("convert", *words, source, target), out="")
        assert cached_bytes(source) <= 64 * KIB, f"{words}: {cached_bytes(source)} bytes of the source"
        assert cached_bytes(target) <= 64 * KIB, f"{words}: {cached_bytes(target)} bytes of the target"
    check_ok(run("compare", source, target))
    assert cached_bytes(source) + cached_bytes(target) <= 128 * KIB
    check_ok(run("create", "-q", "-o", "preallocation=full", folder + "/f", "8M"))
    assert cached_bytes(folder + "/f") <= 64 * KIB


def test_page_cache_when_asked_for(cleanup):
    folder = cleanup.folder()
    source, target = write_layout(folder + "/s", "8M 0+8M"), folder + "/t"
    drop_cache(source)
    check_ok(run("convert", "-T", "writeback", "-t", "writeback", source, target), out="")
    assert cached_bytes(source) == cached_bytes(target) == 8 * MIB


def test_dirty_source_is_read_right(cleanup):
    """Pages of the source that are not yet on the disk."""
    folder = cleanup.folder()
    for _ in range(5):
        source = write_layout(folder + "/s", "8M 0+8M")
        check_ok(run("convert", source, folder + "/t"), out="")
        assert contents(folder + "/t") == pattern(0, 8 * MIB)
        os.unlink(folder + "/t")


def test_odd_sizes(cleanup):
    folder = cleanup.folder()
    for size in (1, 511, 512, 513, 4095, 4096, 4097, 1048575, 1048577, 5000001):
        source = write_layout(folder + "/s", f"{size} 0+{size}")
        for words in ((), ("-t", "none", "-T", "none"), ("-t", "directsync"), ("-S", "0"), ("-C",)):
            check_ok(run("convert", *words, source, folder + "/t"), out="")
            padding = bytes(-size % 512)
            assert contents(folder + "/t") == pattern(0, size) + padding, (size, words)
            check_ok(run("compare", source, folder + "/t"), out="Images are identical.\n")
            os.unlink(folder + "/t")


# --- memory


def peak_memory(cleanup, *words, binary):
    process = cleanup.process(start(*words, binary=binary, stdout=subprocess.DEVNULL))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, text_of(process.stderr.read())
    return usage.ru_maxrss * KIB


def test_memory_is_bounded(cleanup):
    if not os.path.exists(support.PLATTER_RELEASE):
        raise Skip("no release build")
    folder = cleanup.folder()
    extents = " ".join(f"{3 * number}M+1M" for number in range(100))
    many = " ".join(f"{64 * number}K+4K" for number in range(8000))
    for layout in ("64G " + extents, "64G " + many):
        source = write_layout(folder + "/s", layout)
        for words in (("convert", "-W", "-m", "16", source, folder + "/t"), ("convert", "-n", "-m", "16", source, folder + "/t"),
                      ("compare", source, folder + "/t"), ("map", source)):
            peak = peak_memory(cleanup, *words, binary=support.PLATTER_RELEASE)
            assert peak <= 64 * MIB, f"{words}: {peak} bytes"
        assert digest_of(source) == digest_of(folder + "/t")
        os.unlink(folder + "/t")


# --- block devices


def device(cleanup, size, sector=512, fill=None):
    backing = cleanup.folder() + "/device"
    write_layout(backing, f"{size} 0+{size}={fill}" if fill else str(size))
    return cleanup.loop(backing, sector=sector), backing


def zero_padded(path, size):
    return contents(path).ljust(size, b"\0")


def copy_to_device(cleanup, sector):
    source = write_layout(cleanup.folder() + "/s", DATA)
    for words in ((), ("-n",), ("-S", "0"), ("-n", "-t", "writeback"), ("-n", "-m", "1"), ("-C", "-n")):
        target, _ = device(cleanup, 24 * MIB, sector, fill=9)
        check_ok(run("convert", *words, source, target), out="")
        drop_cache(target)
        assert contents(target) == contents(source), words
        check_ok(run("compare", source, target), out="Images are identical.\n")


def test_to_device_of_512_byte_sectors(cleanup):
    copy_to_device(cleanup, 512)


def test_to_device_of_4096_byte_sectors(cleanup):
    copy_to_device(cleanup, 4096)


def test_to_larger_device(cleanup):
    """What lies behind the image stays."""
    source = write_layout(cleanup.folder() + "/s", "1M 4K+8K")
    for words in ((), ("-n",)):
        target, _ = device(cleanup, 4 * MIB, fill=9)
        check_ok(run("convert", *words, source, target), out="")
        assert contents(target) == contents(source) + pattern(0, 4 * MIB, 9)[MIB:], words


def test_to_smaller_device(cleanup):
    source = write_layout(cleanup.folder() + "/s", "2M 4K+8K")
    target, backing = device(cleanup, MIB, fill=9)
    check_fails(run("convert", source, target), target)
    check_fails(run("convert", "-n", source, target), "smaller")
    assert contents(backing) == pattern(0, MIB, 9)


def test_odd_image_to_device(cleanup):
    for sector in (512, 4096):
        for size in (1000, 4097, 70001):
            source = write_layout(cleanup.folder() + "/s", f"{size} 0+{size}")
            for words in ((), ("-n",)):
                target, _ = device(cleanup, 128 * KIB, sector, fill=9)
                check_ok(run("convert", *words, source, target), out="")
                end = size + -size % 512
                expected = zero_padded(source, end) + pattern(0, 128 * KIB, 9)[end:]
                assert contents(target) == expected, (sector, size, words)


def test_holes_become_discards_or_zeroes(cleanup):
    source = write_layout(cleanup.folder() + "/s", "32M 8M+1M")
    for words in ((), ("-n",)):
        target, backing = device(cleanup, 32 * MIB, fill=9)
        check_ok(run("convert", *words, source, target), out="")
        assert contents(target) == contents(source)
        assert allocated(backing) <= 2 * MIB, f"{words}: {allocated(backing)} bytes stay allocated"


def test_target_is_zero_on_a_device(cleanup):
    source = write_layout(cleanup.folder() + "/s", "8M 4M+1M")
    target, _ = device(cleanup, 8 * MIB, fill=9)
    check_ok(run("convert", "-n", "--target-is-zero", source, target), out="")
    expected = pattern(0, 8 * MIB, 9)
    expected = expected[: 4 * MIB] + pattern(4 * MIB, MIB) + expected[5 * MIB :]
    assert contents(target) == expected


def test_from_device(cleanup):
    for sector in (512, 4096):
        source, backing = device(cleanup, 8 * MIB, sector)
        with open(source, "r+b") as file:
            file.write(pattern(0, MIB))
        target = cleanup.folder() + "/t"
        check_ok(run("convert", source, target), out="")
        assert contents(target) == contents(backing)
        assert allocated(target) <= 2 * MIB, "zeroes are left out"
        assert '"virtual-size": 8388608' in check_ok(run("info", "--output=json", source)).out
        check_ok(run("compare", source, target), out="Images are identical.\n")


def test_from_device_of_odd_size(cleanup):
    """1,001 sectors: no multiple of a page."""
    source, backing = device(cleanup, 1001 * 512, fill=3)
    target = cleanup.folder() + "/t"
    check_ok(run("convert", source, target), out="")
    assert contents(target) == contents(backing)
    write_layout(backing, f"{1001 * 512} 0+{1001 * 512}=4")
    check_ok(run("convert", "-n", target, source), out="")
    assert contents(backing) == contents(target)


def test_create_and_resize_on_a_device(cleanup):
    target, backing = device(cleanup, MIB, fill=9)
    for verb, words in (("create", ("-q", target, "1M")), ("create", ("-q", target, "512K")), ("resize", ("-f", "raw", target, "1M"))):
        ours, theirs = run(verb, *words), run(verb, *words, binary=support.QEMU_IMG)
        assert (ours.code, ours.out) == (theirs.code, theirs.out), f"{verb} {words}: {ours}; qemu-img: {theirs}"
    check_fails(run("create", "-q", target, "2M"), target)
    check_fails(run("resize", "-f", "raw", target, "2M"), target)
    assert contents(backing)[4 * KIB :] == pattern(0, MIB, 9)[4 * KIB :]


def test_file_on_4096_byte_sectors(cleanup):
    """Files whose size is no multiple of what direct I/O needs."""
    image = cleanup.folder() + "/fs"
    write_layout(image, "320M")
    loop = cleanup.loop(image, sector=4096)
    sh("mkfs.xfs", "-q", "-s", "size=4096", loop)
    folder = cleanup.mount(loop)
    elsewhere = cleanup.folder()
    for size in (1, 511, 512, 1000, 4095, 4097, 1048577, 3000001):
        source = write_layout(folder + "/s", f"{size} 0+{size}")
        far = write_layout(elsewhere + "/s", f"{size} 0+{size}")
        expected = zero_padded(source, size + -size % 512)
        # The second copy shares no blocks: it comes from another filesystem.
        for start_ in (source, far):
            for words in ((), ("-S", "512"), ("-S", "0"), ("-t", "none", "-T", "none")):
                check_ok(run("convert", *words, start_, folder + "/t"), out="")
                assert contents(folder + "/t") == expected, (size, words)
                check_ok(run("compare", start_, folder + "/t"), out="Images are identical.\n")
                os.unlink(folder + "/t")
        write_layout(folder + "/t", f"{size} 0+{size}=9")
        check_ok(run("convert", "-n", far, folder + "/t"), out="")
        assert contents(folder + "/t") == expected, size
        os.unlink(folder + "/t")
        check_ok(run("resize", "-q", "-f", "raw", "--preallocation=full", source, "+5000"))
        assert contents(source) == pattern(0, size) + bytes(os.path.getsize(source) - size)


# --- blocks that are shared


def shared_bytes(path):
    """Of the extents that filefrag calls shared."""
    total = 0
    for line in sh("filefrag", "-v", path).splitlines():
        match = re.match(r" *\d+: +\d+\.\. *\d+: +\d+\.\. *\d+: +(\d+):.*\bshared\b", line)
        total += int(match[1]) * 4 * KIB if match else 0
    return total


def reflink(cleanup, folder):
    extents = " ".join(f"{100 * number}M+1M" for number in range(100))
    source, target = write_layout(folder + "/s", "10G " + extents), folder + "/t"
    os.sync()
    before = os.statvfs(folder).f_bavail
    check_ok(run("convert", source, target), out="")
    assert digest_of(source) == digest_of(target)
    os.sync()
    assert shared_bytes(target) == 100 * MIB, shared_bytes(target)
    used = (before - os.statvfs(folder).f_bavail) * os.statvfs(folder).f_bsize
    assert used < 20 * MIB, f"{used} bytes more are in use"
    # Over an existing file, and where the user asks for data to be written.
    check_ok(run("convert", source, target), out="")
    assert shared_bytes(target) == 100 * MIB and digest_of(source) == digest_of(target)
    os.unlink(target)
    small = write_layout(folder + "/small", "2M 0+2M")
    for words in (("-S", "0"), ("-S", "4k"), ("-o", "preallocation=full"), ("-o", "preallocation=falloc")):
        check_ok(run("convert", *words, small, target), out="")
        os.sync()
        assert shared_bytes(target) == 0, words
        os.unlink(target)
    check_ok(run("convert", small, small, target), out="")
    assert contents(target) == contents(small) * 2
    os.unlink(target)
    odd = write_layout(folder + "/odd", "1000001 0+1000001")
    check_ok(run("convert", odd, target), out="")
    assert contents(target) == contents(odd) + bytes(-1000001 % 512)
    assert names_in(folder) == ["odd", "s", "small", "t"]


def test_reflink_on_xfs(cleanup):
    reflink(cleanup, cleanup.filesystem("xfs", 640 * MIB, "-m", "reflink=1"))


def test_reflink_on_btrfs(cleanup):
    reflink(cleanup, cleanup.filesystem("btrfs", 640 * MIB))


def test_xfs_without_reflink(cleanup):
    folder = cleanup.filesystem("xfs", 320 * MIB, "-m", "reflink=0")
    source = write_layout(folder + "/s", DATA)
    check_ok(run("convert", source, folder + "/t"), out="")
    assert contents(source) == contents(folder + "/t")


def test_btrfs_without_copy_on_write(cleanup):
    """The reflink into a file of the other kind fails: then data is copied."""
    folder = cleanup.filesystem("btrfs", 320 * MIB)
    source = write_layout(folder + "/s", DATA)
    check_ok(run("convert", "-o", "nocow=on", source, folder + "/t"), out="")
    assert contents(source) == contents(folder + "/t")
    assert "C" in sh("lsattr", folder + "/t").split()[0]
    check_ok(run("create", "-q", "-o", "nocow=on", folder + "/c", "1M"))
    assert "C" in sh("lsattr", folder + "/c").split()[0]


def test_extent_size_hint_on_xfs(cleanup):
    folder = cleanup.filesystem("xfs", 320 * MIB)
    check_ok(run("create", "-q", "-o", "extent_size_hint=1M", folder + "/a", "8M"))
    assert "[1048576]" in sh("xfs_io", "-c", "extsize", folder + "/a")
    check_ok(run("create", "-q", "-o", "extent_size_hint=0", folder + "/b", "8M"))
    assert "[0]" in sh("xfs_io", "-c", "extsize", folder + "/b")


# --- preallocation


def preallocation(folder):
    expected = {"off": (0, 64 * KIB), "falloc": (8 * MIB, 8 * MIB + 64 * KIB), "full": (8 * MIB, 8 * MIB + 64 * KIB)}
    source = write_layout(folder + "/s", "8M 1M+64K")
    for mode, (least, most) in expected.items():
        path = folder + "/" + mode
        check_ok(run("create", "-q", "-o", "preallocation=" + mode, path, "8M"))
        assert least <= allocated(path) <= most, f"{mode}: {allocated(path)}"
        assert contents(path) == bytes(8 * MIB)
        check_ok(run("convert", "-o", "preallocation=" + mode, source, path), out="")
        assert least <= allocated(path) <= most + 64 * KIB, f"convert {mode}: {allocated(path)}"
        assert contents(path) == contents(source)
        check_ok(run("resize", "-q", "-f", "raw", "--preallocation=" + mode, path, "+8M"))
        assert 2 * least <= allocated(path) <= 2 * most, f"resize {mode}: {allocated(path)}"
        assert contents(path) == contents(source) + bytes(8 * MIB)
    # Zeroes that were written are data; space that is only reserved is not.
    full = check_ok(run("map", "--output=json", folder + "/full")).out
    assert '"zero": true' not in full, full


def test_preallocation(cleanup):
    preallocation(cleanup.folder())


def test_preallocation_on_xfs(cleanup):
    preallocation(cleanup.filesystem("xfs", 320 * MIB))


def test_preallocation_on_tmpfs(cleanup):
    preallocation(cleanup.tmpfs("128M"))


def test_memory_filesystem(cleanup):
    folder = cleanup.tmpfs("256M")
    source = write_layout(folder + "/s", DATA)
    for words in ((), ("-C",), ("-t", "none", "-T", "none"), ("-S", "0"), ("-W", "-m", "3")):
        check_ok(run("convert", *words, source, folder + "/t"), out="")
        assert contents(folder + "/t") == contents(source), words
        assert "-S" in words or abs(allocated(folder + "/t") - allocated(source)) <= 64 * KIB, words
        os.unlink(folder + "/t")


# --- without io_uring


def test_threads_instead_of_io_uring(cleanup):
    if not seccomp.is_known_machine():
        raise Skip("no seccomp filter for this machine")
    forbidden = {"preexec_fn": seccomp.forbid_io_uring}
    folder = cleanup.folder()
    source = write_layout(folder + "/s", DATA)
    for words in ((), ("-n",), ("-C",), ("-t", "writeback"), ("-S", "0"), ("-r", "100M")):
        check_ok(run("convert", *words, source, folder + "/t", **forbidden), out="")
        assert contents(folder + "/t") == contents(source), words
    check_ok(run("compare", source, folder + "/t", **forbidden), out="Images are identical.\n")
    assert run("info", source, **forbidden).out == run("info", source).out
    assert run("map", source, **forbidden).out == run("map", source).out
    check_ok(run("resize", "-q", "-f", "raw", "--preallocation=full", folder + "/t", "+1M", **forbidden))
    check_ok(run("create", "-q", "-o", "preallocation=full", folder + "/c", "1M", **forbidden))
    target, _ = device(cleanup, 24 * MIB, fill=9)
    check_ok(run("convert", "-n", source, target, **forbidden), out="")
    assert contents(target) == contents(source)
    check_fails(run("convert", source, cleanup.tmpfs("4M") + "/t", **forbidden), "No space left on device")


def test_threads_stop_on_a_signal(cleanup):
    if not seccomp.is_known_machine():
        raise Skip("no seccomp filter for this machine")
    folder = cleanup.folder()
    source = write_layout(cleanup.folder() + "/s", "8M 0+8M")
    process = cleanup.process(start("convert", "-r", "2M", source, folder + "/t", preexec_fn=seccomp.forbid_io_uring))
    time.sleep(0.6)
    process.terminate()
    _, err = process.communicate(timeout=support.TIMEOUT_S)
    assert process.returncode == 143 and names_in(folder) == [], err


if __name__ == "__main__":
    tests = [value for name, value in list(globals().items()) if name.startswith("test_")]
    sys.exit(support.run_suite("direct_io", tests))
