#!/usr/bin/env python3
"""A guest boots from images that platter made and wrote, and works on them; then all agree on what is there.

Debian's kernel, a small root filesystem (busybox) on ext4, qemu-system-x86_64 without hardware's help. The guest
writes, changes and deletes files, gives space back to the image, flushes, and turns itself off.
"""

import hashlib
import os
import shutil
import sys

from guest import BUSYBOX, boot, kernel
from support import MIB, QEMU_IMG, check_ok, digest_of, pattern, run, run_suite, sh

SIZE = 64 * MIB

# The guest's first program. What it prints with a star is for the test.
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mkdir -p /written/deep/er
seq 1 200000 >/written/numbers
cat /given/large /given/large >/written/deep/er/twice
i=0
while [ $i -lt 40 ]; do echo "file $i" >/written/small.$i; i=$((i + 1)); done
dd if=/given/large of=/given/changed bs=4096 seek=5 count=3 conv=notrunc 2>/dev/null
mv /given/moved /written/moved
rm /given/removed
sync
fstrim -v / | sed 's/^/* trimmed /'
find /given /written -type f | sort | xargs md5sum | sed 's/^/* sum /'
sync
mount -o remount,ro / && echo "* done"
poweroff -f
"""


def given_files():
    """What the filesystem holds when the guest starts."""
    return {
        "large": pattern(0, 3 * MIB),
        "changed": pattern(0, 256 << 10, seed=2),
        "moved": b"moved\n",
        "removed": pattern(0, 8 * MIB, seed=3),
    }


def expected_files():
    """What must be there when the guest has ended."""
    given = given_files()
    changed = bytearray(given["changed"])
    changed[5 * 4096 : 8 * 4096] = given["large"][: 3 * 4096]
    files = {
        "/given/large": given["large"],
        "/given/changed": bytes(changed),
        "/written/moved": given["moved"],
        "/written/numbers": "".join(f"{i}\n" for i in range(1, 200001)).encode(),
        "/written/deep/er/twice": given["large"] * 2,
    }
    return files | {f"/written/small.{i}": f"file {i}\n".encode() for i in range(40)}


def root_filesystem(cleanup):
    """An ext4 filesystem with the guest's programs and files, as a raw image."""
    folder = cleanup.folder()
    root = folder + "/root"
    for name in ("bin", "sbin", "proc", "dev", "given"):
        os.makedirs(f"{root}/{name}")
    shutil.copy(BUSYBOX, root + "/bin/busybox")
    with open(root + "/sbin/init", "w") as file:
        file.write(INIT)
    os.chmod(root + "/sbin/init", 0o755)
    for name, data in given_files().items():
        with open(f"{root}/given/{name}", "wb") as file:
            file.write(data)
    image = folder + "/root.raw"
    sh("mkfs.ext4", "-q", "-E", "root_owner=0:0", "-d", root, image, f"{SIZE // MIB}M")
    return image


def boots_and_agrees(cleanup, disk):
    """Boots from the image, then looks at it from all sides."""
    said = boot(cleanup, disk, "discard=unmap")
    marked = [line.removeprefix("* ") for line in said.splitlines() if line.startswith("* ")]
    assert marked and marked[-1] == "done", said
    assert any(line.startswith("trimmed /: ") for line in marked), said
    sums = dict(reversed(line.removeprefix("sum ").split()) for line in marked if line.startswith("sum "))
    expected = {path: hashlib.md5(data).hexdigest() for path, data in expected_files().items()}
    assert sums == expected, said

    check = check_ok(run("check", disk))
    assert check.out.startswith("No errors were found on the image.\n"), check
    sh(QEMU_IMG, "check", disk)
    raw = cleanup.folder() + "/raw"
    check_ok(run("convert", "-O", "raw", disk, raw))
    sh(QEMU_IMG, "convert", "-O", "raw", disk, raw + ".qemu")
    assert digest_of(raw) == digest_of(raw + ".qemu")
    sh("e2fsck", "-fn", raw)
    for path, data in expected_files().items():
        out = raw + ".file"
        sh("debugfs", "-R", f"dump {path} {out}", raw)
        with open(out, "rb") as file:
            assert file.read() == data, path
        os.remove(out)
    assert sh("debugfs", "-R", "ls -p /given", raw).count("/removed/") == 0


def test_made_then_written(cleanup):
    """create, then convert -n into it."""
    kernel()
    root = root_filesystem(cleanup)
    disk = cleanup.folder() + "/disk.qcow2"
    check_ok(run("create", "-q", "-f", "qcow2", disk, str(SIZE)))
    check_ok(run("convert", "-n", "-O", "qcow2", root, disk))
    boots_and_agrees(cleanup, disk)


def test_over_a_compressed_backing_image(cleanup):
    """The guest's writes go to an overlay; its backing image, compressed, stays as it was."""
    kernel()
    root = root_filesystem(cleanup)
    folder = cleanup.folder()
    base, disk = folder + "/base.qcow2", folder + "/disk.qcow2"
    check_ok(run("convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", root, base))
    before = digest_of(base)
    check_ok(run("create", "-q", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k", "-b", base, "-F", "qcow2", disk))
    boots_and_agrees(cleanup, disk)
    assert digest_of(base) == before


def test_with_a_snapshot(cleanup):
    """The guest writes beside a snapshot that platter took; applied, it gives back what was there before."""
    kernel()
    root = root_filesystem(cleanup)
    disk = cleanup.folder() + "/disk.qcow2"
    check_ok(run("convert", "-O", "qcow2", root, disk))
    check_ok(run("snapshot", "-c", "before", disk))
    boots_and_agrees(cleanup, disk)
    check_ok(run("snapshot", "-a", "before", disk))
    check_ok(run("compare", "-f", "raw", "-F", "qcow2", root, disk), "Images are identical.\n")


if __name__ == "__main__":
    tests = (test_made_then_written, test_over_a_compressed_backing_image, test_with_a_snapshot)
    sys.exit(run_suite("boot", tests))
