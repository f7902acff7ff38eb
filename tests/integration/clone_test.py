#!/usr/bin/env python3
"""clone: by every means, of every kind of image; whole or absent; references stay true or are refused."""

import json
import os
import signal
import subprocess
import sys

from support import (GIB, KIB, MIB, QEMU_IMG, QEMU_IO, allocated, check_fails, check_ok, contents, lock_bytes, names_in,
                     pattern, run, run_suite, sh, start, write_layout)


def make_images(folder):
    """raw, qcow2 with all that one can hold, and an overlay over raw."""
    os.chdir(folder)
    write_layout("raw", "8M 64K+64K 3M+1M=2")
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "image", "8M")
    sh(QEMU_IO, "-c", "write -P 1 0 1M", "-c", "write -c -P 2 2M 64K", "image")
    sh(QEMU_IMG, "snapshot", "-c", "s", "image")
    sh(QEMU_IMG, "bitmap", "--add", "image", "b")
    sh(QEMU_IO, "-c", "write -P 3 1M 1M", "image")
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", "raw", "-F", "raw", "overlay")
    sh(QEMU_IO, "-c", "write -P 4 1M 1M", "overlay")


def clone(*words):
    done = check_ok(run("clone", "--output=json", *words))
    return json.loads(done.out)


def check_same(a, b):
    sh(QEMU_IMG, "compare", a, b)
    for path in (a, b):
        if path.endswith("qcow2"):
            sh(QEMU_IMG, "check", path)


def test_a_copy_is_the_same_file(cleanup):
    make_images(cleanup.folder())
    for name, form in [("raw", "raw"), ("image", "qcow2"), ("overlay", "qcow2")]:
        told = clone("--mode=copy", name, name + ".copy")
        assert told["mode"] == "copy" and told["format"] == form and told["virtual-size"] == 8 * MIB, told
        assert told["backing-filename"] == ("raw" if name == "overlay" else None), told
        assert contents(name) == contents(name + ".copy")
        check_same(name, name + ".copy")


def test_holes_stay_holes(cleanup):
    os.chdir(cleanup.folder())
    write_layout("raw", "1G 64K+64K 512M+1M")
    clone("--mode=copy", "raw", "copy")
    assert os.stat("copy").st_size == GIB and allocated("copy") <= allocated("raw") + 64 * KIB


def test_files_of_any_length(cleanup):
    os.chdir(cleanup.folder())
    for size in [0, 1, 511, 513, 4097, MIB + 1]:
        with open("raw", "wb") as file:
            file.write(pattern(0, size) if size else b"")
        for mode in ["copy", "auto"]:
            told = clone("-f", "raw", "--mode", mode, "raw", "copy")
            assert contents("copy") == contents("raw"), (size, told)
            os.unlink("copy")


def test_blocks_are_shared_where_the_filesystem_can(cleanup):
    for kind, size in [("xfs", 512 * MIB), ("btrfs", 512 * MIB)]:
        os.chdir("/")
        folder = cleanup.filesystem(kind, size)
        cleanup.callback(os.chdir, "/")
        make_images(folder)
        write_layout("large", "100M 0+100M")
        os.sync()
        free = os.statvfs(".").f_bavail
        for mode in ["auto", "reflink"]:
            for name in ["large", "image", "overlay"]:
                told = clone("--mode", mode, name, "copy")
                assert told["mode"] == "reflink" and told["reason"] is None, told
                assert contents(name) == contents("copy")
                os.unlink("copy")
        clone("large", "copy")
        os.sync()
        assert free - os.statvfs(".").f_bavail < 50 * MIB // os.statvfs(".").f_frsize
        with open("copy", "r+b") as file:
            file.write(b"changed")
        assert contents("large")[:7] != b"changed"


def test_without_reflink_it_is_an_error_or_a_copy(cleanup):
    make_images(cleanup.tmpfs("64M"))
    cleanup.callback(os.chdir, "/")
    check_fails(run("clone", "--mode=reflink", "raw", "copy"), "raw", "share blocks")
    assert not os.path.exists("copy")
    told = clone("raw", "copy")
    assert told["mode"] == "copy" and "share blocks" in told["reason"], told


def test_overlays_stand_on_the_source(cleanup):
    make_images(cleanup.folder())
    os.mkdir("sub")
    for name, form in [("raw", "raw"), ("image", "qcow2"), ("overlay", "qcow2")]:
        told = clone("--mode=overlay", name, name + ".qcow2")
        assert (told["mode"], told["format"], told["backing-filename"]) == ("overlay", "qcow2", name), told
        check_same(name, name + ".qcow2")
        told = clone("--mode=overlay", name, "sub/" + name + ".qcow2")
        assert told["backing-filename"] == os.path.realpath(name), told
        check_same(name, "sub/" + name + ".qcow2")
        info = json.loads(sh(QEMU_IMG, "info", "--output=json", "sub/" + name + ".qcow2"))
        assert info["backing-filename-format"] == form, info


def test_overlays_have_the_clusters_of_their_base(cleanup):
    os.chdir(cleanup.folder())
    for size in [512, 4096, 2 * MIB]:
        sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", f"cluster_size={size}", "base", "8M")
        clone("--mode=overlay", "base", "over")
        assert json.loads(sh(QEMU_IMG, "info", "--output=json", "over"))["cluster-size"] == size
        os.unlink("over")


def test_names_with_colons(cleanup):
    os.chdir(cleanup.folder())
    write_layout("a:b", "1M 64K+64K")
    told = clone("--mode=overlay", "file:a:b", "over")
    assert told["backing-filename"] == os.path.realpath("a:b"), told
    sh(QEMU_IMG, "compare", "-f", "raw", "-F", "qcow2", "./a:b", "over")


def test_a_backing_name_keeps_its_meaning(cleanup):
    make_images(cleanup.folder())
    os.mkdir("sub")
    for mode in ["copy", "reflink"]:
        check_fails(run("clone", "--mode", mode, "overlay", "sub/c"), "overlay", "backing file", "'raw'", "sub/raw")
    assert names_in("sub") == []
    told = clone("overlay", "sub/c.qcow2")
    assert told["mode"] == "overlay" and "backing file" in told["reason"], told
    check_same("overlay", "sub/c.qcow2")
    # The same file by another way is the same meaning; and so is an absolute name.
    os.symlink("../raw", "sub/raw")
    assert clone("--mode=copy", "overlay", "sub/d.qcow2")["backing-filename"] == "raw"
    check_same("overlay", "sub/d.qcow2")
    os.unlink("sub/raw")
    sh(QEMU_IMG, "rebase", "-u", "-b", os.path.realpath("raw"), "-F", "raw", "overlay")
    clone("--mode=copy", "overlay", "sub/e.qcow2")
    check_same("overlay", "sub/e.qcow2")


def test_data_files_are_not_shared(cleanup):
    os.chdir(cleanup.folder())
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", "data_file=data", "image", "1M")
    sh(QEMU_IO, "-c", "write -P 1 0 64K", "image")
    for mode in ["copy", "reflink"]:
        check_fails(run("clone", "--mode", mode, "image", "copy"), "data file", "'data'")
    told = clone("image", "over.qcow2")
    assert told["mode"] == "overlay" and "data file" in told["reason"], told
    check_same("image", "over.qcow2")


def test_what_exists_is_left_alone(cleanup):
    make_images(cleanup.folder())
    with open("target", "wb") as file:
        file.write(b"mine")
    os.symlink("nowhere", "dangling")
    for mode in ["auto", "copy", "reflink", "overlay"]:
        for target in ["target", "dangling", "raw", "."]:
            check_fails(run("clone", "--mode", mode, "raw", target), "exists already")
    assert contents("target") == b"mine" and not os.path.exists("nowhere")


def test_a_source_that_is_written_is_refused(cleanup):
    make_images(cleanup.folder())
    before = names_in(".")
    fd = lock_bytes("raw", 101)
    cleanup.callback(os.close, fd)
    for mode in ["auto", "copy", "overlay"]:
        done = run("clone", "--mode", mode, "raw", "copy")
        assert done.code == 1 and "lock" in done.err, done
    assert names_in(".") == before
    clone("-U", "--mode=copy", "raw", "copy")


def test_a_signal_leaves_nothing(cleanup):
    os.chdir(cleanup.folder())
    write_layout("raw", "2G")
    with open("raw", "r+b") as file:
        for at in range(0, 256):
            file.seek(at * 8 * MIB)
            file.write(b"x" * 4096)
    before = names_in(".")
    process = cleanup.process(start("clone", "--mode=copy", "raw", "copy"))
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert process.returncode in (143, 0, -signal.SIGTERM), process.returncode
    if process.returncode != 0:
        assert names_in(".") == before


def test_wrong_use(cleanup):
    make_images(cleanup.folder())
    assert "Expecting the names" in run("clone", "raw").err
    check_fails(run("clone", "--mode=magic", "raw", "copy"), "magic", "overlay")
    check_fails(run("clone", "absent", "copy"), "absent", "No such file")
    check_fails(run("clone", "raw", "no/folder"), "No such file")
    sh(QEMU_IMG, "create", "-q", "-f", "vmdk", "vmdk", "1M")
    check_fails(run("clone", "vmdk", "copy"), "vmdk")
    clone("-f", "raw", "vmdk", "copy")
    assert contents("copy") == contents("vmdk")
    subprocess.run(["truncate", "-s", "100", "image"], check=True)
    assert run("clone", "image", "damaged").code == 1 and not os.path.exists("damaged")


if __name__ == "__main__":
    sys.exit(run_suite("clone", [value for name, value in list(globals().items()) if name.startswith("test_")]))
