#!/usr/bin/python3
"""OpenStack's parser of `qemu-img info` (Debian's python3-oslo.utils) reads platter's text and JSON as it reads qemu-img's.

The first line names Debian's own interpreter: the module is not for others.
"""

import os
import re
import shlex
import sys
import warnings

from support import PLATTER, QEMU_IMG, Skip, run, run_suite, sh, write_layout

try:
    from oslo_utils import imageutils
except ImportError:
    imageutils = None

# Name, the image's file, commands for qemu-img that make it; "layout FILE ..." makes a raw file (support.write_layout).
IMAGES = [
    ("raw", "a", ["create -f raw a 10M"]),
    ("raw_odd_size", "a", ["layout a 1000 0+7"]),
    ("raw_empty", "a", ["layout a 0"]),
    ("raw_with_data", "a", ["layout a 3M 0+1M 2M+64K"]),
    ("raw_large", "a", ["create -f raw a 5T"]),
    ("qcow2", "a", ["create -f qcow2 a 10M"]),
    ("qcow2_empty", "a", ["create -f qcow2 a 0"]),
    ("qcow2_odd_size", "a", ["create -f qcow2 a 1537"]),
    ("qcow2_large", "a", ["create -f qcow2 a 1P"]),
    ("qcow2_version_2", "a", ["create -f qcow2 -o compat=0.10 a 10M"]),
    ("qcow2_lazy", "a", ["create -f qcow2 -o lazy_refcounts=on a 10M"]),
    ("qcow2_cluster_512", "a", ["create -f qcow2 -o cluster_size=512 a 10M"]),
    ("qcow2_cluster_2M", "a", ["create -f qcow2 -o cluster_size=2M a 10M"]),
    ("qcow2_refcount_1", "a", ["create -f qcow2 -o refcount_bits=1 a 10M"]),
    ("qcow2_refcount_64", "a", ["create -f qcow2 -o refcount_bits=64 a 10M"]),
    ("qcow2_extended", "a", ["create -f qcow2 -o extended_l2=on a 10M"]),
    ("qcow2_zstd", "a", ["create -f qcow2 -o compression_type=zstd a 10M"]),
    ("qcow2_metadata", "a", ["create -f qcow2 -o preallocation=metadata a 10M"]),
    ("qcow2_full", "a", ["create -f qcow2 -o preallocation=full a 10M"]),
    ("qcow2_data_file", "a", ["create -f qcow2 -o data_file=d a 10M"]),
    ("qcow2_data_file_raw", "a", ["create -f qcow2 -o data_file=d,data_file_raw=on a 10M"]),
    ("compressed", "a", ["layout r 3M 0+1M 2M+64K", "convert -c -O qcow2 r a"]),
    ("over_qcow2", "a", ["create -f qcow2 b 10M", "create -f qcow2 -b b -F qcow2 a"]),
    ("over_raw", "a", ["create -f raw b 10M", "create -f qcow2 -b b -F raw a 20M"]),
    ("over_itself_below", "dir/a", ["create -f qcow2 dir/b 10M", "create -f qcow2 -b b -F qcow2 dir/a"]),
    ("over_absolute", "a", ["create -f qcow2 b 10M", "create -f qcow2 -b $PWD/b -F qcow2 a"]),
    ("over_chain", "a", ["create -f qcow2 c 10M", "create -f qcow2 -b c -F qcow2 b", "create -f qcow2 -b b -F qcow2 a"]),
    ("over_missing", "a", ["create -u -f qcow2 -b nothing -F raw a 10M"]),
    ("over_version_2", "a", ["create -f raw b 10M", "create -f qcow2 -o compat=0.10 -b b -F raw a"]),
    ("over_spaced_name", "a", ["create -f raw 'b (c) d' 10M", "create -f qcow2 -b 'b (c) d' -F raw a"]),
    ("over_odd_name", "a", ["create -f raw 'b=ü,\"' 10M", "create -f qcow2 -b 'b=ü,\"' -F raw a"]),
    ("spaced_name", "a b: c", ["create -f qcow2 './a b: c' 10M"]),
    ("one_snapshot", "a", ["create -f qcow2 a 10M", "snapshot -c one a"]),
    ("many_snapshots", "a", ["create -f qcow2 a 10M", *(f"snapshot -c s{i} a" for i in range(12))]),
    ("spaced_snapshot", "a", ["create -f qcow2 a 10M", "snapshot -c 'before the change' a"]),
    ("long_snapshot", "a", ["create -f qcow2 a 10M", "snapshot -c " + 60 * "n" + " a"]),
    ("snapshot_version_2", "a", ["create -f qcow2 -o compat=0.10 a 10M", "snapshot -c one a"]),
    ("bitmaps", "a", ["create -f qcow2 a 10M", "bitmap --add a one", "bitmap --add --disable a two"]),
]


def make(folder, commands):
    os.mkdir(folder + "/dir")
    for command in commands:
        words = shlex.split(command.replace("$PWD", folder))
        if words[0] == "layout":
            write_layout(f"{folder}/{words[1]}", " ".join(words[2:]))
        else:
            made = run(*words, binary=QEMU_IMG, cwd=folder)
            assert made.code == 0, made


def parsed(output, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the text is deprecated there, and still used
        return vars(imageutils.QemuImgInfo(output, format=kind))


def reads(name, file, commands):
    def test(cleanup):
        if imageutils is None:
            raise Skip("no module oslo_utils: package python3-oslo.utils")
        folder = cleanup.folder()
        make(folder, commands)
        # As Nova, Cinder and Glance ask; the file's name with a folder has no colon's meaning.
        for kind, options in (("json", ["--force-share", "--output=json"]), ("human", ["--force-share"]),
                              ("human", ["--output=human"]), ("json", ["-U", "--output", "json"])):
            words = ["info", *options, f"{folder}/{file}"]
            ours, theirs = (run(*words, binary=tool, cwd=folder) for tool in (PLATTER, QEMU_IMG))
            assert ours.code == theirs.code == 0 and ours.err == theirs.err, (ours, theirs)
            mine, other = parsed(ours.out, kind), parsed(theirs.out, kind)
            assert mine == other, f"{kind}: {mine}, of qemu-img's: {other}"
            assert mine["file_format"] in ("raw", "qcow2") and mine["virtual_size"] is not None, mine

    test.__name__ = "test_" + name
    return test


def test_version_for_parsers(cleanup):
    """What programs look for in `qemu-img --version`: a version of three parts, not older than what they ask for."""
    link = cleanup.folder() + "/qemu-img"
    os.symlink(PLATTER, link)
    for option in ("--version", "-V", "--help"):
        ours, theirs = sh(link, option), sh(QEMU_IMG, option)
        cinder = r"qemu-img version ([0-9\.]*)"  # re.match: at the very start
        versions = [re.match(cinder, text)[1] for text in (ours, theirs)]
        assert versions[0].split(".")[:2] == versions[1].split(".")[:2], versions
        assert re.match(r"^qemu-img version (\d+\.\d+\.\d+) \(platter \d+\.\d+\.\d+\)$", ours.splitlines()[0]), ours
        # zstack: grep 'qemu-img version' | cut -d ' ' -f 3 | cut -d '(' -f 1
        lines = [line for line in ours.splitlines() if "qemu-img version" in line]
        assert [line.split(" ")[2].split("(")[0] for line in lines] == [versions[0]], ours


def main():
    return run_suite("oslo", [test_version_for_parsers, *(reads(*row) for row in IMAGES)])


if __name__ == "__main__":
    sys.exit(main())
