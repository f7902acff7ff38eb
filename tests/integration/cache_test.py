#!/usr/bin/env python3
"""platter cache: what it tells of base images, what it removes, and what it never does."""

import json
import os
import sys
import time

from support import MIB, QEMU_IMG, check_fails, check_ok, run, run_suite, sh, write_layout

UUID = "0b4f1e52-3a9c-4d6e-8f00-123456789abc"
DAY_S = 24 * 3600


class Host:
    """Instances, made by platter itself: one on a base that is in use, and a base that nothing uses any more."""

    def __init__(self, cleanup):
        folder = cleanup.folder()
        self.instances = os.path.join(folder, "instances")
        os.mkdir(self.instances)
        image = write_layout(os.path.join(folder, "image"), "4M 64K+64K 3M+1M=2")
        for disk, image_id in (("disk", "wanted"), ("other", "forgotten")):
            check_ok(run("provision", *self.words(disk), "--base", image, "--image-id", image_id))
        check_ok(run("deprovision", *self.words("other")))
        self.bases = sorted(os.listdir(self.folder()))
        self.used = next(name for name in self.bases if name in sh(QEMU_IMG, "info", "-U", self.disk()))
        self.unused = next(name for name in self.bases if name != self.used)

    def words(self, disk):
        return ["--backend=qcow2", "--instances", self.instances, "--instance", UUID, "--disk", disk]

    def folder(self, *names):
        return os.path.join(self.instances, "_base", *names)

    def disk(self):
        return os.path.join(self.instances, UUID, "disk")

    def age(self, name, seconds):
        then = time.time() - seconds
        os.utime(self.folder(name), (then, then))

    def cache(self, *words):
        return run("cache", *words, "--instances", self.instances)

    def json(self, *words, code=0):
        done = self.cache(*words, "--output=json")
        assert done.code == code, done
        return json.loads(done.out)


def test_list_tells_users_and_blocks(cleanup):
    host = Host(cleanup)
    bases = {each["name"]: each for each in host.json("list")["bases"]}
    assert sorted(bases) == host.bases, bases
    used = bases[host.used]
    assert used["disks"] == [host.disk()] and used["disk-count"] == 1 and used["kind"] == "image", used
    assert used["size"] == 4 * MIB and used["allocated"] == os.stat(host.folder(host.used)).st_blocks * 512, used
    assert bases[host.unused]["disk-count"] == 0, bases
    assert host.used in check_ok(host.cache("list")).out


def test_stats_are_sums(cleanup):
    host = Host(cleanup)
    stats = host.json("stats")
    assert stats["count"] == 2 and stats["size"] == 8 * MIB and stats["kinds"]["image"]["unused"] == 1, stats
    assert "2 bases" in check_ok(host.cache("stats")).out


def test_prune_removes_what_nothing_names(cleanup):
    host = Host(cleanup)
    for name in host.bases:
        host.age(name, DAY_S + 60)
    before = check_ok(run("checksum", host.disk())).out
    dry = host.json("prune", "-n")
    assert {each["name"]: each["verdict"] for each in dry["bases"]} == {
        host.used: "used", host.unused: "removable"}, dry
    assert sorted(os.listdir(host.folder())) == host.bases
    assert check_ok(host.cache("prune")).out == f"{host.unused}: removed\n"
    assert os.listdir(host.folder()) == [host.used]
    assert not [name for name in os.listdir(os.path.join(host.instances, "locks")) if host.unused in name]
    assert check_ok(run("checksum", host.disk())).out == before
    # Used now: it stays for another day when its last disk is gone.
    check_ok(run("deprovision", *host.words("disk")))
    assert host.json("prune")["bases"][0]["verdict"] == "young"


def test_prune_keeps_known_images_and_young_bases(cleanup):
    host = Host(cleanup)
    host.age(host.unused, DAY_S + 60)
    done = host.json("prune", "--known-image=forgotten")
    assert {each["name"]: each["verdict"] for each in done["bases"]} == {host.used: "used", host.unused: "known"}, done
    assert time.time() - os.stat(host.folder(host.unused)).st_mtime < 60


def test_nothing_goes_while_a_disk_is_not_readable(cleanup):
    host = Host(cleanup)
    host.age(host.unused, DAY_S + 60)
    with open(os.path.join(host.instances, UUID, "broken"), "wb") as file:
        file.write(b"QFI\xfbnot an image")
    check_fails(host.cache("prune"), "nothing is removed", "broken")
    assert sorted(os.listdir(host.folder())) == host.bases


def test_verify_finds_the_bad_one(cleanup):
    host = Host(cleanup)
    assert [each["good"] for each in host.json("verify")] == [True, True]
    os.unlink(host.folder(host.unused))
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", host.folder(host.unused))
    verified = {each["name"]: each for each in host.json("verify", code=2)}
    assert verified[host.used]["good"] and not verified[host.unused]["good"], verified
    assert "backing file" in verified[host.unused]["fault"], verified


def test_wrong_words_are_refused(cleanup):
    host = Host(cleanup)
    for words in ([], ["clean"], ["list", "more"], ["list", "--output=xml"]):
        assert host.cache(*words).code == 1, words
    check_fails(run("cache", "list", "--instances", os.path.join(host.instances, "none")), "none")


if __name__ == "__main__":
    sys.exit(run_suite("cache", [value for name, value in list(globals().items()) if name.startswith("test_")]))
