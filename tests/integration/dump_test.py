#!/usr/bin/env python3
"""dump: the inside of images that QEMU's tools made, beside a reading of its own, `map`, and `check`; broken ones are
shown as far as they go. PLATTER_SEED=N replays."""

import json
import os
import random
import struct
import sys

from broken_images import BASES, BREAKAGES, Image, make_base
from support import KIB, MIB, QEMU_IMG, QEMU_IO, check_fails, check_ok, run, run_suite, sh, write_layout

SEED = int(os.environ.get("PLATTER_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
ALL = ["--header", "--l1", "--l2", "--refcounts", "--snapshots", "--bitmaps"]


def dump(*words):
    return json.loads(check_ok(run("dump", "--output=json", *words)).out)


def make_rich(path, options="cluster_size=4k"):
    """Data, zeroes, compressed clusters, two snapshots, bitmaps."""
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", options, path, "4M")
    sh(QEMU_IO, "-c", "write -P 1 0 40k", "-c", "write -c -P 2 1M 64k", "-c", "write -c -P 3 1088k 64k",
       "-c", "write -z 2M 64k", path)
    sh(QEMU_IMG, "snapshot", "-c", "one", path)
    sh(QEMU_IO, "-c", "write -P 4 8k 20k", "-c", "write -c -P 5 3M 64k", path)
    sh(QEMU_IMG, "snapshot", "-c", "two", path)
    sh(QEMU_IMG, "bitmap", "--add", "-g", "4k", path, "b")
    sh(QEMU_IMG, "bitmap", "--add", "--disable", path, "off")
    sh(QEMU_IO, "-c", "write -P 6 16k 8k", path)


def test_the_header_is_told(cleanup):
    os.chdir(cleanup.folder())
    write_layout("base", "4M")
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", "-o", "lazy_refcounts=on,extended_l2=on",
       "image")
    image, header = Image("image"), dump("--header", "image")["header"]
    for name, value in [("version", 3), ("cluster_bits", 16), ("size", 4 * MIB), ("l1_size", image.l1_size),
                        ("l1_table_offset", image.l1_offset), ("refcount_table_offset", image.table_offset),
                        ("refcount_order", 4), ("header_length", 112), ("backing_file", "base"),
                        ("backing_file_offset", image.u64(8)), ("nb_snapshots", 0), ("incompatible_features", 16),
                        ("incompatible_features_names", ["extended-l2"]), ("unknown_fields", ""),
                        ("compatible_features_names", ["lazy-refcounts"]), ("problems", [])]:
        assert header[name] == value, (name, header)
    assert [entry["name"] for entry in header["extensions"]] == ["backing-format", "feature-names"], header
    assert header["extensions"][0]["value"] == "raw", header


def test_unknown_extensions_are_told(cleanup):
    os.chdir(cleanup.folder())
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "image", "1M")
    image = Image("image")
    image.data[112:128] = struct.pack(">II8s", 0x12345678, 5, b"hello")
    image.data[128:152] = struct.pack(">QQQ", 0, 0, 0)
    image.save("image")
    extensions = dump("image")["header"]["extensions"]
    assert extensions == [{"offset": 112, "type": 0x12345678, "name": "unknown", "length": 5, "value": b"hello".hex(),
                           "problem": None}], extensions


def test_counts_are_those_of_the_blocks(cleanup):
    os.chdir(cleanup.folder())
    for options in ["cluster_size=4k", "cluster_size=512,refcount_bits=64", "cluster_size=4k,refcount_bits=8",
                    "compat=0.10"]:
        make_rich("image", options) if "compat" not in options else sh(
            QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", options, "image", "4M")
        image, found = Image("image"), dump("--refcounts", "image")["refcounts"]
        counts = [run_["refcount"] for run_ in found["counts"] for _ in range(run_["clusters"])]
        expected = [image.refcount(cluster) if image.block(cluster // image.per_block()) else 0
                    for cluster in range(image.clusters())]
        assert counts == expected and found["complete"], (options, found)
        one = dump("--host", f"{3 * image.cluster}", "image")["refcounts"]["counts"]
        assert one == [{"host-offset": 3 * image.cluster, "clusters": 1, "refcount": expected[3], "problems": []}], one
        os.unlink("image")


def test_l2_entries_agree_with_map(cleanup):
    os.chdir(cleanup.folder())
    for options in ["cluster_size=4k", "compression_type=zstd", "cluster_size=512", "extended_l2=on"]:
        make_rich("image", options)
        found = dump("--l2", "image")["l2"]["entries"]
        assert all(entry["problems"] == [] for entry in found), found
        assert sum(entry["length"] for entry in found) == 4 * MIB
        mapped = json.loads(sh(QEMU_IMG, "map", "--output=json", "image"))
        for entry in found:
            at = entry["guest-offset"]
            run_ = next(run_ for run_ in mapped if run_["start"] <= at < run_["start"] + run_["length"])
            if entry["type"] == "data" and "offset" in run_:
                assert entry["host-offset"] == run_["offset"] + at - run_["start"], (entry, run_)
            assert run_["data"] == (entry["type"] in ("data", "compressed")), (entry, run_)
        part = dump("--guest", "8k+4k", "--l2", "image")["l2"]["entries"]
        assert part[0]["guest-offset"] <= 8 * KIB < part[0]["guest-offset"] + part[0]["length"], part
        os.unlink("image")


def test_each_reference_has_an_owner(cleanup):
    """In a sound image a cluster has as many owners as its count says."""
    os.chdir(cleanup.folder())
    for options in ["cluster_size=4k", "cluster_size=64k", "cluster_size=16k,extended_l2=on"]:
        make_rich("image", options)
        image = Image("image")
        kinds = set()
        step = 1 if image.clusters() < 80 else 3
        for cluster in range(0, image.clusters(), step):
            found = dump("--owner", str(cluster * image.cluster), "image")["owners"]
            assert len(found["entries"]) == found["refcount"] == image.refcount(cluster), (options, cluster, found)
            kinds |= {entry["kind"] for entry in found["entries"]}
            assert found["problems"] == [] and found["complete"], found
        if step == 1:
            assert kinds >= {"header", "l1-table", "l2-table", "data", "compressed", "refcount-table",
                             "refcount-block", "snapshot-table", "bitmap-directory", "bitmap-table"}, kinds
        os.unlink("image")


def test_an_owner_is_named(cleanup):
    os.chdir(cleanup.folder())
    make_rich("image")
    at = next(entry["host-offset"] for entry in dump("--l2", "image")["l2"]["entries"] if entry["type"] == "compressed")
    found = dump("--owner", str(at), "image")["owners"]["entries"]
    here = [entry for entry in found if entry["guest-offset"] == MIB]
    assert [entry["name"] for entry in here] == [None, "one", "two"], found
    assert all(entry["host-offset"] == at and entry["holds-offset"] for entry in here), found
    # Others share the cluster, and lie behind that byte.
    assert any(entry["host-offset"] > at and not entry["holds-offset"] for entry in found), found


def test_snapshots_and_bitmaps_are_told(cleanup):
    os.chdir(cleanup.folder())
    make_rich("image")
    found, image = dump("image"), Image("image")
    names = [(row["id"], row["name"]) for row in found["snapshots"]["entries"]]
    assert names == [("1", "one"), ("2", "two")], found["snapshots"]
    for number, row in enumerate(found["snapshots"]["entries"]):
        at = image.snapshot_at(number)
        assert row["offset"] == at and row["l1_table_offset"] == image.u64(at), row
        assert row["extra_disk_size"] == 4 * MIB and row["extra_data_size"] == image.u32(at + 36), row
        assert row["unknown_extra"] is None and row["problems"] == [], row
    told = [(row["name"], row["auto"], row["in-use"], row["granularity_bits"], row["problems"])
            for row in found["bitmaps"]["directory"]]
    assert told == [("b", True, False, 12, []), ("off", False, False, 12, [])], told
    kinds = {(row["bitmap"], row["kind"]) for row in found["bitmaps"]["tables"]}
    assert kinds == {(0, "bits"), (1, "zeroes")}, found["bitmaps"]


def test_nothing_else_is_opened(cleanup):
    os.chdir(cleanup.folder())
    os.mkfifo("pipe")
    sh(QEMU_IMG, "create", "-q", "-u", "-f", "qcow2", "-b", "pipe", "-F", "raw", "image", "1M")
    dump(*ALL, "--owner", "0", "image")
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", "data_file=data", "split", "1M")
    sh(QEMU_IO, "-c", "write 0 128k", "split")
    os.unlink("data")
    found = dump(*ALL, "--owner", "0", "split")
    assert [entry["kind"] for entry in found["owners"]["entries"]] == ["header"], found


def test_raw_images(cleanup):
    os.chdir(cleanup.folder())
    write_layout("raw", "3M 1M+1M")
    assert dump("raw")["file"]["size"] == 3 * MIB
    extents = dump("--guest", "0+3M", "raw")["extents"]["entries"]
    assert [(row["offset"], row["type"]) for row in extents] == [(0, "hole"), (MIB, "data"), (2 * MIB, "hole")], extents


def test_text_and_limits(cleanup):
    os.chdir(cleanup.folder())
    make_rich("image")
    done = check_ok(run("dump", "--l2", "--limit=3", "image"))
    assert done.out.startswith("filename: image\nformat: qcow2\nl2:\n    entries:\n        guest-offset 0x0  "), done
    assert done.out.endswith("    complete: no\n") and len(done.out.splitlines()) == 8, done
    done = check_ok(run("dump", "image"))
    assert "    version: 3\n" in done.out and "name one" in done.out and "name b" in done.out, done
    check_fails(run("dump", "-f", "qcow2", "/dev/null"), "/dev/null")
    write_layout("raw", "1M")
    check_fails(run("dump", "-f", "qcow2", "raw"), "raw", "not in qcow2 format")
    assert run("dump", "--guest=x", "image").code == 1 and run("dump").code == 1
    assert run("dump", "--limit=x", "image").code == 1 and run("dump", "--owner=-1", "image").code == 1


def test_a_header_without_geometry_is_shown(cleanup):
    os.chdir(cleanup.folder())
    make_rich("image")
    image = Image("image")
    image.put32(20, 77)
    image.save("image")
    found = dump(*ALL, "--owner", "0", "image")
    assert found["header"]["cluster_bits"] == 77 and "cluster size" in found["header"]["problems"][0], found
    assert "l1" not in found, found


def test_broken_images_are_shown(cleanup):
    """Of each kind of breakage that check is tested with: all sections, and who owns some places."""
    folder = cleanup.folder()
    os.chdir(folder)
    rng = random.Random(SEED)
    for base in BASES:
        make_base(folder, base)
        os.rename("a.qcow2", base)
    names = sorted(BREAKAGES)
    told = 0
    for name in names:
        base, breakage = BREAKAGES[name]
        image = Image(base)
        breakage(image)
        image.save("broken")
        owner = str(rng.randrange(0, len(image.data) + image.cluster))
        done = run("dump", "--output=json", *ALL, "--owner", owner, "-f", "qcow2", "broken")
        assert done.code == 0 and done.err == "", (SEED, name, done)
        found = json.loads(done.out)
        told += '"problems": ["' in done.out
        if name.startswith("sound/"):
            assert '"problems": ["' not in done.out, (name, found)
    assert told > 40, told


def test_mutants(cleanup):
    os.chdir(cleanup.folder())
    rng = random.Random(SEED)
    for options in ["cluster_size=4k", "cluster_size=512", "cluster_size=16k,extended_l2=on"]:
        make_rich("image", options)
        with open("image", "rb") as file:
            sound = file.read()
        tables = [at for at in range(0, len(sound), 512) if sound[at : at + 512].strip(b"\0")][:40]
        for number in range(25):
            content = bytearray(sound)
            for _ in range(rng.randrange(1, 6)):
                at = rng.choice([0, 0, *tables]) + rng.randrange(112)
                value = rng.choice([b"\xff", b"\x80", b"\0", bytes([rng.randrange(256)]), b"\xff" * 4])
                if at >= 4:
                    content[at : at + len(value)] = value
            if rng.randrange(5) == 0:
                del content[rng.randrange(512, len(content)) :]
            with open("mutant", "wb") as file:
                file.write(content)
            done = run("dump", "--output=json", *ALL, "--owner", str(rng.randrange(len(sound))), "--limit=5000", "-f",
                       "qcow2", "mutant")
            assert done.code == 0 and done.err == "", (SEED, options, number, done.err)
            json.loads(done.out)
        os.unlink("image")


if __name__ == "__main__":
    sys.exit(run_suite("dump", [value for name, value in list(globals().items()) if name.startswith("test_")]))
