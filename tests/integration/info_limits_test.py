#!/usr/bin/env python3
"""`info --limits`: what QEMU 10.2 tells of the same nodes, by the rules of its drivers (Debian's qemu-img has no such option)."""

import json
import os
import sys

from support import QEMU_IMG, check_ok, run, run_suite, sh, write_layout

PAGE = os.sysconf("SC_PAGESIZE")
IOV_MAX = os.sysconf("SC_IOV_MAX")
FILE = {"request-alignment": 1, "min-mem-alignment": 1, "opt-mem-alignment": PAGE, "max-iov": IOV_MAX}


def limits_of(*words):
    told = json.loads(check_ok(run("info", "--limits", "--output=json", *words)).out)
    return [image["limits"] for image in told] if isinstance(told, list) else told["limits"]


def queue_of(device, name):
    with open(f"/sys/block/{os.path.basename(device)}/queue/{name}") as file:
        return int(file.read())


def test_raw(cleanup):
    path = write_layout(cleanup.folder() + "/a", "1M 0+4K")
    assert limits_of("-f", "raw", path) == FILE
    # The first sector of what was only guessed to be raw is written as a whole.
    assert limits_of(path) == FILE | {"request-alignment": 512}


def test_qcow2(cleanup):
    folder = cleanup.folder()
    for options, cluster, zeroes in (
        ("cluster_size=512", 512, 512),
        ("cluster_size=64k", 65536, 65536),
        ("cluster_size=2M,compat=0.10", 2 << 20, 2 << 20),
        ("cluster_size=64k,extended_l2=on", 65536, 2048),
    ):
        sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", options, folder + "/a", "1M")
        expected = FILE | {"discard-alignment": cluster, "write-zeroes-alignment": zeroes}
        assert limits_of(folder + "/a") == expected, options
        assert limits_of("-f", "qcow2", folder + "/a") == expected, options


def test_every_image_of_a_chain(cleanup):
    folder = cleanup.folder()
    write_layout(folder + "/base", "1M")
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base", folder + "/top")
    expected = [FILE | {"discard-alignment": 65536, "write-zeroes-alignment": 65536}, FILE]
    assert limits_of("--backing-chain", folder + "/top") == expected


def test_only_where_asked(cleanup):
    path = write_layout(cleanup.folder() + "/a", "1M")
    assert "limits" not in json.loads(run("info", "--output=json", path).out)
    assert "Block limits" not in run("info", path).out
    assert "Block limits:\n    request alignment: 512\n" in run("info", "--limits", path).out


def test_a_device(cleanup):
    device = cleanup.loop(write_layout(cleanup.folder() + "/a", "64M"), sector=4096)
    hardware = {"max-hw-transfer": queue_of(device, "max_sectors_kb") * 1024, "max-hw-iov": queue_of(device, "max_segments")}
    granularity = queue_of(device, "discard_granularity")
    assert limits_of("-f", "raw", device) == FILE | hardware
    own = "driver=host_device,filename=" + device
    discards = {"discard-alignment": granularity} if granularity else {}
    assert limits_of("--image-opts", own) == FILE | hardware | discards
    direct = limits_of("--image-opts", own + ",cache.direct=on")
    assert direct["request-alignment"] == 4096, direct
    assert direct["opt-mem-alignment"] == max(PAGE, direct["min-mem-alignment"]), direct


if __name__ == "__main__":
    tests = [test_raw, test_qcow2, test_every_image_of_a_chain, test_only_where_asked, test_a_device]
    sys.exit(run_suite("info_limits", tests))
