#!/usr/bin/env python3
"""inspect: what QEMU's tools make is told for what it is, what is dangerous is unsafe, and no bytes whatever make it
crash, hang, or read much. PLATTER_SEED=N replays."""

import json
import os
import random
import struct
import subprocess
import sys

from support import KIB, MIB, QEMU_IMG, check_fails, run, run_suite, write_layout

SEED = int(os.environ.get("PLATTER_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
MUTANTS = 60
EXIT_UNSAFE = 2
# Options of qemu-img create, the format that is found, and the codes of what is unsafe.
CREATED = {
    "qcow2": ("-f qcow2", "qcow2", []),
    "version2": ("-f qcow2 -o compat=0.10", "qcow2", []),
    "subclusters": ("-f qcow2 -o extended_l2=on", "qcow2", []),
    "small_clusters": ("-f qcow2 -o cluster_size=512", "qcow2", []),
    "large_clusters": ("-f qcow2 -o cluster_size=2M,compression_type=zstd", "qcow2", []),
    "backed": ("-f qcow2 -b base -F raw", "qcow2", ["backing-file"]),
    "backed_unsized": ("-u -f qcow2 -b /etc/passwd -F raw", "qcow2", ["backing-file"]),
    "data_file": ("-f qcow2 -o data_file=data", "qcow2", ["data-file"]),
    "data_file_raw": ("-f qcow2 -o data_file=data,data_file_raw=on", "qcow2", ["data-file"]),
    "qcow": ("-f qcow", "qcow2", ["unsupported-version"]),
    "raw": ("-f raw", "raw", []),
    "vmdk": ("-f vmdk", "vmdk", []),
    "vmdk_stream": ("-f vmdk -o subformat=streamOptimized", "vmdk", []),
    "vmdk_flat": ("-f vmdk -o subformat=monolithicFlat", "vmdk", ["extents"]),
    "vmdk_split": ("-f vmdk -o subformat=twoGbMaxExtentSparse", "vmdk", ["extents"]),
    "vmdk_backed": ("-f vmdk -b base.vmdk -F vmdk", "vmdk", ["parent"]),
    "vdi": ("-f vdi", "vdi", []),
    "vdi_static": ("-f vdi -o static=on", "vdi", []),
    "vhdx": ("-f vhdx", "vhdx", []),
    "vhdx_fixed": ("-f vhdx -o subformat=fixed", "vhdx", []),
    "vpc": ("-f vpc", "vhd", []),
    "vpc_fixed": ("-f vpc -o subformat=fixed", "vhd", []),
    "qed": ("-f qed", "qed", []),
    "qed_backed": ("-f qed -b base -F raw", "qed", ["backing-file"]),
    "parallels": ("-f parallels", None, ["unknown-format"]),
}
SIZE = 4 * MIB


def qemu_img(*words):
    done = subprocess.run([QEMU_IMG, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"


def make(folder, name):
    """The path of a new image of CREATED."""
    os.chdir(folder)
    if not os.path.exists("base"):
        write_layout("base", "4M 64K+64K")
        qemu_img("create", "-q", "-f", "vmdk", "base.vmdk", str(SIZE))
    if name == "luks":
        make_luks("luks")
    else:
        qemu_img("create", "-q", *CREATED[name][0].split(), name, str(SIZE))
    return name


def make_luks(path):
    for attempt in range(10):  # counting time fails now and then on a virtual machine
        done = subprocess.run([QEMU_IMG, "create", "-q", "--object", "secret,id=s,data=abc", "-f", "luks", "-o",
                               "key-secret=s,iter-time=10", path, str(SIZE)], capture_output=True, check=False)
        if done.returncode == 0:
            return
    raise AssertionError(done.stderr)


def inspect(*words):
    done = run("inspect", "--output=json", *words)
    assert done.code in (0, EXIT_UNSAFE), done
    found = json.loads(done.out)
    assert found["safe"] == (done.code == 0), done
    assert found["safe"] == all(entry["severity"] == "note" for entry in found["findings"]), done
    return found


def unsafe(found):
    return [entry["code"] for entry in found["findings"] if entry["severity"] == "unsafe"]


def test_what_qemu_makes(cleanup):
    folder = cleanup.folder()
    for name, (_, form, codes) in CREATED.items():
        found = inspect(make(folder, name))
        assert found["format"] == form and unsafe(found) == codes, (name, found)
        if form and form != "vhd" and not codes:
            assert found["virtual-size"] == SIZE, (name, found)
        if form == "vhd":  # its size is rounded up to a geometry's
            assert SIZE <= found["virtual-size"] < SIZE + MIB, (name, found)


def test_luks_of_version_1(cleanup):
    found = inspect("-f", "luks", make(cleanup.folder(), "luks"))
    assert found["format"] == "luks" and found["safe"] and found["virtual-size"] == SIZE, found


def test_declared_formats(cleanup):
    folder = cleanup.folder()
    for name, form in [("qcow2", "qcow2"), ("vmdk", "vmdk"), ("vdi", "vdi"), ("vhdx", "vhdx"), ("vpc", "vpc"),
                       ("qed", "qed"), ("raw", "raw")]:
        make(folder, name)
        for declared in ["raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc", "qed", "luks", "iso"]:
            found = inspect("-f", declared, name)
            assert unsafe(found) == ([] if declared == form else ["format-mismatch"]), (name, declared, found)


def mbr(content):
    content[446:462] = struct.pack("<B3xB3xII", 0x80, 0x83, 2048, 2048)
    content[510:512] = b"\x55\xaa"


def test_partition_tables_and_isos(cleanup):
    os.chdir(cleanup.folder())
    disk = bytearray(4 * MIB)
    mbr(disk)
    iso = bytearray(4 * MIB)
    iso[32 * KIB : 32 * KIB + 7] = b"\1CD001\1"
    hybrid = bytearray(iso)
    mbr(hybrid)
    disk_in_vhd = bytearray(disk)
    qemu_img("create", "-q", "-f", "vpc", "-o", "subformat=fixed,force_size=on", "v", "4M")
    with open("v", "rb") as file:
        disk_in_vhd += file.read()[-512:]
    cases = [("disk", disk, "mbr", ["mbr"], "raw"), ("iso", iso, "iso", ["iso"], "iso"),
             ("hybrid", hybrid, "iso", ["mbr", "iso"], "iso"), ("vhd", disk_in_vhd, "vhd", ["mbr", "vhd"], "vpc")]
    for name, content, form, matches, declared in cases:
        with open(name, "wb") as file:
            file.write(content)
        found = inspect("-f", declared, name)
        assert (found["format"], found["matches"], found["safe"]) == (form, matches, True), (name, found)


def test_several_formats_at_once(cleanup):
    folder = cleanup.folder()
    make(folder, "qcow2")
    with open("qcow2", "r+b") as file:
        file.truncate(MIB)
        file.seek(32 * KIB)
        file.write(b"\1CD001\1")
    found = inspect("qcow2")
    assert found["format"] is None and found["matches"] == ["qcow2", "iso"], found
    assert unsafe(found) == ["several-formats"], found


def test_text_and_bounds_of_sizes(cleanup):
    make(cleanup.folder(), "backed")
    done = run("inspect", "--max-virtual-size=1M", "backed")
    assert done.code == EXIT_UNSAFE, done
    assert "unsafe: backing-file: the image has a backing file: 'base'" in done.out, done
    assert "unsafe: virtual-size: the disk has 4194304 bytes; at most 1048576 are taken" in done.out, done
    assert done.out.endswith("safe: no\n") and done.err == "", done
    done = run("inspect", "-q", "backed")
    assert (done.code, done.out, done.err) == (EXIT_UNSAFE, "", ""), done


def test_wrong_use_is_an_error(cleanup):
    os.chdir(cleanup.folder())
    os.mkfifo("pipe")
    check_fails(run("inspect", "absent"), "absent", "No such file")
    check_fails(run("inspect", "pipe"), "pipe")
    check_fails(run("inspect", "."), "'.'")
    assert "Expecting one image file name" in run("inspect").err
    check_fails(run("inspect", "-f", "bochs", "pipe"), "Unknown format 'bochs'")
    assert "Invalid maximum virtual size" in run("inspect", "--max-virtual-size=x", "pipe").err


def test_no_reference_is_followed(cleanup):
    os.chdir(cleanup.folder())
    os.mkfifo("pipe")  # whoever opens it waits
    for form in ["qcow2", "qed"]:
        qemu_img("create", "-q", "-u", "-f", form, "-b", "pipe", "-F", "raw", form, "1M")
        assert "backing-file" in unsafe(inspect(form))
    strace = ["strace", "-f", "-o", "trace", "-e", "trace=open,openat,openat2"]
    done = subprocess.run([*strace, os.environ.get("PLATTER_RELEASE", "platter"), "inspect", "qcow2"],
                          capture_output=True, check=False)
    with open("trace", encoding="utf-8", errors="replace") as file:
        assert "pipe" not in file.read(), done


def mutate(rng, content):
    """A few bytes of what matters become others; sometimes the file is cut."""
    content = bytearray(content)
    areas = [1024] * 4 + [64 * KIB, len(content)]
    for _ in range(rng.randrange(1, 8)):
        at = rng.randrange(min(rng.choice(areas), len(content)))
        value = rng.choice([b"\0", b"\xff", b"\x80", bytes([rng.randrange(256)]), b"\xff" * 8, b"\0" * 8])
        content[at : at + len(value)] = value
    if rng.randrange(6) == 0:
        del content[rng.randrange(len(content)) :]
    return content


def test_mutants(cleanup):
    folder = cleanup.folder()
    rng = random.Random(SEED)
    for name in [*CREATED, "luks"]:
        with open(make(folder, name), "rb") as file:
            content = file.read(2 * MIB)
        if not content.strip(b"\0"):
            continue
        for number in range(MUTANTS // 10 if len(content) > MIB else MUTANTS // 5):
            with open("mutant", "wb") as file:
                file.write(mutate(rng, content))
            try:
                inspect("mutant")
            except (AssertionError, ValueError) as why:
                raise AssertionError(f"seed {SEED}, {name} {number}: {why}") from why


if __name__ == "__main__":
    sys.exit(run_suite("inspect", [value for name, value in list(globals().items()) if name.startswith("test_")]))
