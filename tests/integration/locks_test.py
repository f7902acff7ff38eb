#!/usr/bin/env python3
"""Image locks against QEMU's tools and an imitated guest, in both directions."""

import os
import re
import sys
import time

import support
from support import MIB, QEMU_IMG, QEMU_IO, check_ok, contents, is_locked, lock_bytes, pattern, run, sh, start, wait_until, write_layout

# What QEMU's openers hold: byte 100+n "uses n", byte 200+n "does not share n".
GUEST = (100, 101, 201, 203)  # a running virtual machine's raw disk
GUEST_SHARED = (100, 101)  # the same with share-rw=on
READER = (100,)
BACKUP = (100, 201, 203)  # reads, and lets nobody write
BACKING = (100, 201)
RESIZER = (100, 101, 103)

HOLDERS = {
    "guest": GUEST, "guest_shared": GUEST_SHARED, "reader": READER, "backup": BACKUP, "backing": BACKING,
    "resizer": RESIZER, "exclusive": (100, 101, 102, 103, 200, 201, 202, 203),
}

# @: the locked image; o: another, of the same size.
COMMANDS = (
    "info @", "info --output=json @", "info -U @", "map @", "map -U @", "compare @ o", "compare o @", "compare -U @ o",
    "convert @ new", "convert -U @ new", "convert @ @ new", "convert o @", "convert -n o @", "convert -n -U o @",
    "convert -U -n @ o", "resize -f raw @ +1M", "resize -f raw --shrink @ -512K", "create -q @ 1M",
    "create -q -o preallocation=full @ 1M",
)


def prepare(folder):
    write_layout(folder + "/@", "1M 0+1M")
    write_layout(folder + "/o", "1M 0+1M=2")


def run_as_qemu_img(link, command, folder):
    return run(*command.split(), binary=link, cwd=folder)


def make_link(cleanup):
    """Messages begin with the name of the program."""
    link = cleanup.folder() + "/qemu-img"
    os.symlink(support.PLATTER, link)
    return link


def without_use(text):
    """Of several conflicts the first is told: create asks for less at first than platter does."""
    return re.sub(r'"(write|resize)" lock', '"..." lock', text)


def compare_with_qemu_img(cleanup, places):
    link = make_link(cleanup)
    wrong = []
    for command in COMMANDS:
        # platter's -U heeds no lock at all; qemu-img's still does where reading itself is not shared.
        if " -U " in command and 200 in places:
            continue
        results = []
        for binary in (link, QEMU_IMG):
            folder = cleanup.folder()
            prepare(folder)
            fd = lock_bytes(folder + "/@", *places)
            try:
                done = run_as_qemu_img(binary, command, folder)
            finally:
                os.close(fd)
            results.append((done.code, done.out, without_use(done.err), contents(folder + "/@"), contents(folder + "/o")))
        if results[0] != results[1] and not is_stricter(command, *results):
            shown = [result[:3] for result in results]
            wrong.append(f"{command}: {shown[0]}, qemu-img: {shown[1]}")
    assert not wrong, "; ".join(wrong)


def is_stricter(command, ours, theirs):
    """A target is refused where qemu-img would cut it under its user, before or while it takes its locks."""
    refused = ours[0] == 1 and "lock" in ours[2] and ours[3] == pattern(0, MIB)
    return refused and command.split()[0] in ("create", "convert", "resize") and theirs[3] != pattern(0, MIB)


def add_holder_tests():
    def make(places):
        return lambda cleanup: compare_with_qemu_img(cleanup, places)

    tests = []
    for name, places in HOLDERS.items():
        test = make(places)
        test.__name__ = "test_like_qemu_img_beside_" + name
        tests.append(test)
    return tests


def qemu_io(cleanup, path, *options):
    """A running qemu-io that holds the image open."""
    process = cleanup.process(start("-f", "raw", *options, path, binary=QEMU_IO, stdin=-1))
    wait_until(lambda: is_locked(path, 100), "qemu-io has opened the image")
    return process


def check_refused(done, path, *words):
    assert done.code == 1, done
    for word in ("lock", f"Is another process using the image [{path}]?", *words):
        assert word in done.err, done


def test_beside_qemu_io(cleanup):
    folder = cleanup.folder()
    prepare(folder)
    image, other, new = folder + "/@", folder + "/o", folder + "/new"
    writer = qemu_io(cleanup, image)
    check_ok(run("info", image))
    check_refused(run("convert", image, new), image)
    assert not os.path.exists(new)
    check_ok(run("convert", "-U", image, new), out="")
    check_refused(run("convert", "-n", other, image), image)
    check_refused(run("convert", other, image), image)
    check_refused(run("create", "-q", image, "4K"), image)
    assert contents(image) == pattern(0, MIB)
    writer.communicate(b"quit\n", timeout=20)
    check_ok(run("convert", image, folder + "/new2"), out="")


def test_beside_qemu_io_reader(cleanup):
    folder = cleanup.folder()
    prepare(folder)
    image = folder + "/@"
    reader = qemu_io(cleanup, image, "-r")
    check_ok(run("convert", image, folder + "/new"), out="")
    check_ok(run("map", image))
    reader.communicate(b"quit\n", timeout=20)


def holding(cleanup, *words):
    """A slow convert: it holds its locks for some seconds."""
    process = cleanup.process(start("convert", "-r", "500k", *words))
    time.sleep(0.5)
    assert process.poll() is None
    return process


def qemu(verb, *words):
    return run(verb, *words, binary=QEMU_IMG)


def test_source_is_locked_against_qemu(cleanup):
    folder = cleanup.folder()
    image = write_layout(folder + "/@", "4M 0+4M")
    process = holding(cleanup, image, folder + "/new")
    assert qemu("resize", "-f", "raw", image, "+1M").code == 1
    assert qemu("convert", "-n", "-f", "raw", "-O", "raw", image, image).code == 1
    done = run("-f", "raw", "-c", "write 0 4k", image, binary=QEMU_IO)
    assert "Failed to get" in done.err and contents(image) == pattern(0, 4 * MIB), done
    assert qemu("info", image).code == qemu("map", image).code == 0
    assert qemu("convert", image, folder + "/by-qemu").code == 0, "two may read"
    process.kill()


def test_targets_are_locked_against_qemu(cleanup):
    folder = cleanup.folder()
    source, target = write_layout(folder + "/s", "4M 0+4M"), folder + "/t"
    for words in ((), ("-n",)):
        write_layout(target, "4M 0+4M=2")
        process = holding(cleanup, *words, source, target)
        assert qemu("resize", "-f", "raw", target, "+1M").code == 1, words
        assert qemu("convert", target, folder + "/other").code == 1, words
        done = run("-f", "raw", "-c", "write 0 4k", target, binary=QEMU_IO)
        assert "Failed to get" in done.err, done
        assert qemu("info", target).code == 0
        process.kill()
        process.wait()
        wait_until(lambda: qemu("resize", "-f", "raw", target, "8M").code == 0, "the locks are gone")


def test_shared_source_is_not_locked(cleanup):
    folder = cleanup.folder()
    image = write_layout(folder + "/@", "4M 0+4M")
    process = holding(cleanup, "-U", image, folder + "/new")
    assert qemu("resize", "-f", "raw", image, "+1M").code == 0
    process.kill()


def test_against_itself(cleanup):
    folder = cleanup.folder()
    source, target = write_layout(folder + "/s", "4M 0+4M"), write_layout(folder + "/t", "4M 0+4M=2")
    process = holding(cleanup, "-n", source, target)
    check_ok(run("info", target))
    check_ok(run("convert", source, folder + "/new"), out="")
    check_refused(run("convert", source, target), target)
    check_refused(run("convert", "-n", source, target), target)
    check_refused(run("convert", target, folder + "/new2"), target)
    check_refused(run("resize", "-f", "raw", source, "+1M"), source)
    check_refused(run("create", "-q", source, "1M"), source)
    process.kill()


def test_same_file(cleanup):
    """The source as the target is refused by locks, and without them by device and inode."""
    folder = cleanup.folder()
    image = write_layout(folder + "/a", "1M 0+1M")
    os.link(image, folder + "/b")
    os.symlink("a", folder + "/c")
    for name in ("a", "b", "c"):
        for words in ((), ("-n",), ("-U",), ("-n", "-U")):
            done = run("convert", *words, image, f"{folder}/{name}")
            assert done.code == 1 and done.err.startswith("platter: "), done
            assert contents(image) == pattern(0, MIB), (name, words)


def held_bytes(path):
    return [place for place in (*range(100, 104), *range(200, 204)) if is_locked(path, place)]


def test_commit_locks_its_chain_like_qemu_img(cleanup):
    """The overlay and the base as writers do; what lies between is not even to be read."""
    seen = []
    for binary in (None, QEMU_IMG):
        for base in ("mid", "root"):
            folder = cleanup.folder()
            for name, below in (("root", None), ("mid", "root"), ("top", "mid")):
                words = ("-b", below, "-F", "qcow2", name) if below else (name, "8M")
                sh(QEMU_IMG, "create", "-q", "-f", "qcow2", *words, cwd=folder)
            sh(QEMU_IO, "-f", "qcow2", "-c", "write 0 8M", folder + "/top")
            process = cleanup.process(start("commit", "-r", "500k", "-b", base, "top", binary=binary, cwd=folder))
            wait_until(lambda: is_locked(f"{folder}/{base}", 101), "the base is locked")
            time.sleep(0.3)
            seen.append({name: held_bytes(f"{folder}/{name}") for name in ("root", "mid", "top")})
            process.kill()
            process.wait()
    assert seen[:2] == seen[2:], seen


def test_exclusive_lock_of_another_kind(cleanup):
    """A program that locks the whole file for writing, as lockf() does."""
    folder = cleanup.folder()
    image = write_layout(folder + "/@", "1M 0+1M")
    code = "import fcntl,sys;f=open(sys.argv[1],'r+');fcntl.lockf(f,fcntl.LOCK_EX);print(1,flush=True);sys.stdin.read()"
    process = cleanup.process(start("-c", code, image, binary=sys.executable, stdin=-1))
    process.stdout.readline()
    ours, theirs = run("convert", image, folder + "/new"), qemu("convert", image, folder + "/new")
    assert ours.code == theirs.code == 1, f"{ours}; {theirs}"
    assert "Failed to lock byte 100" in ours.err and "Failed to lock byte 100" in theirs.err, f"{ours}; {theirs}"


if __name__ == "__main__":
    tests = add_holder_tests() + [value for name, value in list(globals().items()) if name.startswith("test_")]
    sys.exit(support.run_suite("locks", tests))
