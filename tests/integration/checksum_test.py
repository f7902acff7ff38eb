#!/usr/bin/env python3
"""checksum: what sha256sum says of the raw image, whatever the format and its features."""

import hashlib
import json
import os
import subprocess
import sys

from support import KIB, MIB, QEMU_IMG, QEMU_IO, check_fails, check_ok, contents, lock_bytes, pattern, run, run_suite, sh, write_layout

OPTIONS = ["", "compat=0.10", "cluster_size=512", "cluster_size=2M", "extended_l2=on", "compression_type=zstd",
           "preallocation=metadata", "data_file=data"]


def sums(path, tool="sha256sum"):
    return sh(tool, path).split()[0].lstrip("\\")


def tree(path):
    content = contents(path)
    leaves = b"".join(hashlib.sha256(content[at : at + MIB]).digest() for at in range(0, len(content), MIB))
    return hashlib.sha256(leaves).hexdigest()


def sum_of(*words):
    return check_ok(run("checksum", *words)).out.split()[0]


def test_every_format_and_feature_agrees(cleanup):
    os.chdir(cleanup.folder())
    write_layout("raw", "9M 0+64K 1M+1M=2 3M+512=3 5000K+100K=0 9000K+216K=4")
    expected, expected_tree = sums("raw"), tree("raw")
    assert sum_of("-f", "raw", "raw") == expected
    for options in OPTIONS:
        sh(QEMU_IMG, "convert", "-O", "qcow2", *(["-o", options] if options else []), "raw", "image")
        assert sum_of("image") == expected, options
        assert sum_of("--algorithm=sha256-tree", "image") == expected_tree, options
    for options in ["", "compression_type=zstd", "cluster_size=2M"]:
        sh(QEMU_IMG, "convert", "-c", "-O", "qcow2", *(["-o", options] if options else []), "raw", "image")
        assert sum_of("image") == expected, options
    for form in ["raw", "qcow2"]:
        sh(QEMU_IMG, "convert", "-O", form, "raw", "base")
        sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", "base", "-F", form, "overlay")
        assert sum_of("overlay") == expected


def test_algorithms(cleanup):
    os.chdir(cleanup.folder())
    write_layout("raw", "3M 512K+1M")
    for name in ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]:
        assert sum_of("-a", name, "raw") == sums("raw", name + "sum")
    assert sum_of("-a", "blake2b", "raw") == sums("raw", "b2sum")
    done = run("checksum", "-a", "crc32", "raw")
    assert done.code == 1 and "Unknown digest algorithm 'crc32'" in done.err and "sha256" in done.err, done


def test_lines_are_those_of_sha256sum(cleanup):
    os.chdir(cleanup.folder())
    names = ["plain", "with space", "back\\slash", "new\nline"]
    for name in names:
        write_layout(name, "1M 4K+4K")
    done = check_ok(run("checksum", *names))
    assert done.out == sh("sha256sum", *names), done
    with open("sums", "w", encoding="utf-8") as file:
        file.write(done.out)
    sh("sha256sum", "--check", "--quiet", "sums")


def test_json(cleanup):
    os.chdir(cleanup.folder())
    write_layout("raw", "1M 4K+4K")
    sh(QEMU_IMG, "convert", "-O", "qcow2", "raw", "image")
    done = check_ok(run("checksum", "--output=json", "raw", "image"))
    digest = sums("raw")
    assert json.loads(done.out) == [
        {"filename": name, "format": form, "virtual-size": MIB, "algorithm": "sha256", "digest": digest}
        for name, form in [("raw", "raw"), ("image", "qcow2")]
    ], done


def test_of_a_snapshot(cleanup):
    os.chdir(cleanup.folder())
    write_layout("raw", "2M 64K+64K")
    before = sums("raw")
    sh(QEMU_IMG, "convert", "-O", "qcow2", "raw", "image")
    sh(QEMU_IMG, "snapshot", "-c", "s", "image")
    sh(QEMU_IO, "-c", "write 0 1M", "image")
    assert sum_of("image") != before
    assert sum_of("-l", "s", "image") == before
    assert sum_of("-l", "snapshot.name=s", "image") == before
    check_fails(run("checksum", "-l", "t", "image"), "Failed to load snapshot")


def test_errors_leave_the_others(cleanup):
    os.chdir(cleanup.folder())
    write_layout("raw", "1M")
    done = run("checksum", "absent", "raw")
    assert done.code == 1 and "absent" in done.err and done.out == f"{sums('raw')}  raw\n", done
    assert "Expecting image file names" in run("checksum").err


def test_images_that_are_written_are_refused(cleanup):
    os.chdir(cleanup.folder())
    write_layout("raw", "1M")
    fd = lock_bytes("raw", 101)
    cleanup.callback(os.close, fd)
    done = run("checksum", "raw")
    assert done.code == 1 and "lock" in done.err, done
    check_ok(run("checksum", "-U", "raw"))


def test_sizes_that_are_no_multiple_of_a_block(cleanup):
    os.chdir(cleanup.folder())
    with open("raw", "wb") as file:
        file.write(pattern(0, 3 * MIB + 100 * KIB + 512))
    assert sum_of("raw") == sums("raw") and sum_of("-a", "sha256-tree", "raw") == tree("raw")


def test_huge_holes_cost_no_reads(cleanup):
    os.chdir(cleanup.folder())
    subprocess.run([QEMU_IMG, "create", "-q", "-f", "qcow2", "image", "2T"], check=True)
    leaf = hashlib.sha256(bytes(MIB)).digest()
    digest = hashlib.sha256()
    for _ in range(2048):
        digest.update(leaf * 1024)
    assert sum_of("-a", "sha256-tree", "image") == digest.hexdigest()


if __name__ == "__main__":
    sys.exit(run_suite("checksum", [value for name, value in list(globals().items()) if name.startswith("test_")]))
