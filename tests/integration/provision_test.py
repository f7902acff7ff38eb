#!/usr/bin/env python3
"""provision, extract, deprovision: qemu-img reads what they make; kills at every step, links, races, many processes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

from support import (GIB, MIB, PLATTER, QEMU_IMG, QEMU_IO, Skip, check_fails, check_ok, contents, lock_bytes, names_in, run,
                     run_suite, sh, start, write_layout)

UUID = "0b4f1e52-3a9c-4d6e-8f00-123456789abc"


def uuid(number):
    return f"0b4f1e52-3a9c-4d6e-8f00-{number:012x}"


class Host:
    """A folder of instances, and a raw and a qcow2 image to make disks of."""

    def __init__(self, cleanup):
        self.folder = cleanup.folder()
        self.instances = os.path.join(self.folder, "instances")
        os.mkdir(self.instances)
        self.raw = write_layout(os.path.join(self.folder, "raw"), "4M 64K+64K 3M+1M=2")
        self.qcow2 = os.path.join(self.folder, "image.qcow2")
        sh(QEMU_IMG, "convert", "-O", "qcow2", "-o", "cluster_size=16K", self.raw, self.qcow2)

    def words(self, verb, number=0, disk="disk", backend="qcow2"):
        return [verb, "--backend", backend, "--instances", self.instances, "--instance", uuid(number), "--disk", disk]

    def provision(self, *words, backend="qcow2", number=0, disk="disk"):
        return run(*self.words("provision", number, disk, backend), *words)

    def disk(self, number=0, disk="disk"):
        return os.path.join(self.instances, uuid(number), disk)

    def base(self):
        return os.path.join(self.instances, "_base", names_in(os.path.join(self.instances, "_base"))[0])

    def everything(self):
        found = []
        for folder, _, files in os.walk(self.instances):
            found += [os.path.relpath(os.path.join(folder, file), self.instances) for file in files]
        return sorted(found)

    def leftovers(self):
        """What neither a base, a disk, nor a lock file of a base is."""
        return [name for name in self.everything()
                if name.endswith((".part", ".converted", ".resume", ".partial")) or "platter-" in name]


def info(path):
    return json.loads(sh(QEMU_IMG, "info", "-U", "--output=json", path))


def made(done):
    return json.loads(check_ok(done).out)


def test_an_overlay_is_what_qemu_expects(cleanup):
    host = Host(cleanup)
    told = made(host.provision("--base", host.qcow2, "--image-id", "abc", "--size", "1G", "--output=json"))
    base = os.path.join(host.instances, "_base", "a9993e364706816aba3e25717850c26c9cd0d89d")
    assert told["backing-filename"] == base and told["backing-format"] == "raw" and told["base"] == base, told
    assert told["path"] == host.disk() and told["format"] == "qcow2" and told["virtual-size"] == GIB, told
    assert told["created"] and told["base-fetched"] and not told["grown"] and not told["dry-run"], told
    seen = info(host.disk())
    assert seen["format"] == "qcow2" and seen["virtual-size"] == GIB and seen["full-backing-filename"] == base, seen
    assert seen["backing-filename-format"] == "raw", seen
    sh(QEMU_IMG, "check", host.disk())
    sh(QEMU_IMG, "compare", "-f", "raw", "-F", "raw", host.raw, base)
    assert contents(os.path.join(host.instances, uuid(0), "disk.info")).decode() == json.dumps({host.disk(): "qcow2"}) + "\n"
    assert host.everything() == sorted([f"_base/{os.path.basename(base)}", f"locks/nova-{os.path.basename(base)}",
                                        f"{uuid(0)}/disk", f"{uuid(0)}/disk.info"]), host.everything()


def test_a_flat_disk_is_a_copy(cleanup):
    host = Host(cleanup)
    told = made(host.provision("--base", host.qcow2, "--size", "8M", "--output=json", backend="flat"))
    assert told["format"] == "raw" and told["backing-filename"] is None and told["virtual-size"] == 8 * MIB, told
    assert contents(host.disk())[: 4 * MIB] == contents(host.raw) and os.path.getsize(host.disk()) == 8 * MIB


def test_running_it_again_is_harmless(cleanup):
    host = Host(cleanup)
    for backend, number in [("qcow2", 0), ("flat", 1)]:
        words = ["--base", host.raw, "--size", "8M", "--output=json"]
        made(host.provision(*words, backend=backend, number=number))
        before, files = contents(host.disk(number)), host.everything()
        told = made(host.provision(*words, backend=backend, number=number))
        assert not told["created"] and not told["grown"] and not told["base-fetched"], told
        assert contents(host.disk(number)) == before and host.everything() == files
        check_fails(host.provision(*words, "--new", backend=backend, number=number), "exists already")
        told = made(host.provision("--size", "16M", "--output=json", backend=backend, number=number))
        assert told["grown"] and info(host.disk(number))["virtual-size"] == 16 * MIB, told


def test_a_dry_run_changes_nothing(cleanup):
    host = Host(cleanup)
    done = check_ok(host.provision("--base", host.raw, "--size", "8M", "--dry-run"))
    assert "Would create" in done.out and "would be fetched" in done.out, done
    assert os.listdir(host.instances) == []


def test_extract_and_deprovision(cleanup):
    host = Host(cleanup)
    check_ok(host.provision("--base", host.qcow2, "--size", "8M"))
    sh(QEMU_IO, "-c", "write -P 7 1M 1M", host.disk())
    for words, form in [([], "raw"), (["-O", "qcow2"], "qcow2"), (["-O", "qcow2", "-c"], "qcow2")]:
        target = os.path.join(host.folder, "copy" + "".join(words))
        check_ok(run(*host.words("extract"), *words, target))
        sh(QEMU_IMG, "compare", "-F", form, "-f", "qcow2", host.disk(), target)
        assert "backing-filename" not in info(target)
    fd = lock_bytes(host.disk(), 101, 201)
    done = run(*host.words("deprovision"))
    assert done.code == 1 and "lock" in done.err and os.path.exists(host.disk()), done
    os.close(fd)
    check_ok(run(*host.words("deprovision")))
    assert not os.path.exists(os.path.dirname(host.disk())) and os.path.exists(host.base())
    done = run(*host.words("deprovision"))
    assert done.code == 0 and "There is no disk" in done.err, done


def test_a_guest_can_not_turn_its_disk_into_another_format(cleanup):
    host = Host(cleanup)
    secret = os.path.join(host.folder, "secret")
    with open(secret, "wb") as file:
        file.write(b"secret" * 1000)
    check_ok(host.provision("--base", host.raw, backend="flat"))
    evil = os.path.join(host.folder, "evil")
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", evil)
    with open(host.disk(), "r+b") as file:
        file.write(contents(evil))
    target = os.path.join(host.folder, "copy")
    check_ok(run(*host.words("extract", backend="flat"), target))
    assert contents(target) == contents(host.disk())


def test_swap_areas_and_filesystems_are_made(cleanup):
    host = Host(cleanup)
    for backend, number in [("qcow2", 0), ("flat", 1)]:
        for what, size in [("swap", 64 * MIB), ("ext4", GIB), ("vfat", GIB)]:
            if what != "swap" and not shutil.which("mkfs." + what):
                continue
            told = made(host.provision("--make", what, "--size", str(size), "--output=json", backend=backend, number=number,
                                       disk="disk." + what))
            assert told["virtual-size"] == size, told
            raw = os.path.join(host.folder, "raw." + what)
            check_ok(run(*host.words("extract", number, "disk." + what, backend), raw))
            assert sh("blkid", "-p", "-o", "value", "-s", "TYPE", raw).strip() == what
    bases = names_in(os.path.join(host.instances, "_base"))
    assert "swap_64" in bases and host.leftovers() == [], bases  # of the overlays: flat disks are made in place
    check_fails(host.provision("--make", "swap"), "--size")
    check_fails(host.provision("--make", "ext4", "--size", "1M"), "GiB")


def test_many_disks_in_one_process(cleanup):
    host = Host(cleanup)
    lines = "".join(json.dumps({"instance": uuid(n % 10), "disk": f"disk{n}", "size": (8 + n) * MIB}) + "\n" for n in range(50))
    batch = os.path.join(host.folder, "batch")
    with open(batch, "w", encoding="utf-8") as file:
        file.write(lines)
    done = check_ok(run("provision", "--instances", host.instances, "--base", host.qcow2, "--batch", batch))
    told = [json.loads(line) for line in done.out.splitlines()]
    assert len(told) == 50 and sum(disk["base-fetched"] for disk in told) == 1, told
    for disk in told:
        seen = info(disk["path"])
        assert seen["virtual-size"] == disk["virtual-size"] == (8 + int(disk["disk"][4:])) * MIB
        recorded = json.loads(contents(os.path.join(os.path.dirname(disk["path"]), "disk.info")))
        assert recorded[disk["path"]] == "qcow2"
    assert host.leftovers() == []
    with open(batch, "a", encoding="utf-8") as file:
        file.write('{"instance": "x", "disk": "disk"}\n')
    check_fails(run("provision", "--instances", host.instances, "--batch", batch), ":51:", "UUID")


def test_refusals_leave_nothing(cleanup):
    host = Host(cleanup)
    evil = os.path.join(host.folder, "evil")
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", host.raw, "-F", "raw", evil)
    check_fails(host.provision("--base", evil), "not safe")
    check_fails(host.provision("--base", host.qcow2, "-f", "raw"), "not safe")
    check_fails(host.provision("--base", host.raw, "--digest", "sha256:" + "0" * 64), "digest")
    check_fails(host.provision("--base", host.folder + "/absent"), "No such file")
    assert host.leftovers() == [] and not os.path.exists(os.path.dirname(host.disk()))
    check_fails(host.provision("--base", host.raw, "--size", "1M"), "bytes")
    assert not os.path.exists(os.path.dirname(host.disk()))
    for words, reason in [(["--disk", "../x"], "no name of a disk"), (["--instance", ".."], "UUID"),
                          (["--backend", "rbd"], "rbd"), (["--config", host.folder + "/absent"], "No such file")]:
        check_fails(run(*host.words("provision"), "--base", host.raw, *words), reason)


def test_a_configuration_is_read(cleanup):
    host = Host(cleanup)
    path = os.path.join(host.folder, "platter.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'instances = "{host.instances}"\nbackend = "flat"\nbase_folder = "bases"\npreallocate = true\n')
    told = made(run("provision", "--config", path, "--instance", UUID, "--disk", "disk", "--base", host.raw, "--output=json"))
    assert told["backend"] == "flat" and "/bases/" in told["base"], told
    assert os.stat(told["path"]).st_blocks * 512 >= 4 * MIB
    with open(path, "a", encoding="utf-8") as file:
        file.write("\nno_such_key = 1\n")
    check_fails(run("provision", "--config", path, "--instance", UUID, "--disk", "disk"), "platter.toml:6", "no_such_key")


def test_a_lock_that_nova_holds_is_waited_for(cleanup):
    host = Host(cleanup)
    check_ok(host.provision("--base", host.raw, "--image-id", "abc"))
    lock = os.path.join(host.instances, "locks", "nova-a9993e364706816aba3e25717850c26c9cd0d89d")
    holder = subprocess.Popen([sys.executable, "-c", "import fcntl, sys\nf = open(sys.argv[1], 'a')\nfcntl.lockf(f, fcntl.LOCK_EX)\n"
                               "print('held', flush=True)\nsys.stdin.read()", lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    cleanup.callback(holder.kill)
    holder.stdout.readline()
    config = os.path.join(host.folder, "c.toml")
    with open(config, "w", encoding="utf-8") as file:
        file.write("[limits]\nlock_wait = 1\n")
    words = ["--base", host.raw, "--image-id", "abc"]
    check_fails(host.provision(*words, "--config", config, number=1), "locked by process %d" % holder.pid)
    assert not os.path.exists(os.path.dirname(host.disk(1)))
    process = cleanup.process(start(*host.words("provision", 1), *words))
    time.sleep(0.3)
    assert process.poll() is None
    holder.stdin.close()
    assert process.wait(20) == 0 and os.path.exists(host.disk(1))


def check_after_kill(host, backend, what):
    """The next run finishes the disk, which is right, and nothing else is left."""
    told = made(host.provision("--base", host.qcow2, "--size", "8M", "--output=json", backend=backend))
    assert told["virtual-size"] == 8 * MIB, (what, told)
    seen = json.loads(sh(QEMU_IMG, "info", "--output=json", "-f", told["format"], host.disk()))
    assert seen["virtual-size"] == 8 * MIB, (what, seen)
    expected = os.path.join(host.folder, "expected")
    if not os.path.exists(expected):
        shutil.copy(host.raw, expected)
        os.truncate(expected, 8 * MIB)
    sh(QEMU_IMG, "compare", "-f", told["format"], "-F", "raw", host.disk(), expected)
    # A lock's file may stay: nobody holds it, and who takes it next removes it.
    left = [name for name in host.leftovers()]
    assert left == [], (what, left)
    base = os.path.basename(told["base"] or host.base())
    assert host.everything() == sorted([f"_base/{base}", f"locks/nova-{base}", f"{uuid(0)}/disk", f"{uuid(0)}/disk.info"]), (
        what, host.everything())


def test_a_kill_at_every_step_leaves_what_the_next_run_finishes(cleanup):
    """SIGKILL at the n-th system call of each kind that changes something."""
    if not shutil.which("strace"):
        raise Skip("strace is not installed")
    host = Host(cleanup)
    kills = 0
    for backend in ["qcow2", "flat"]:
        for call in ["mkdirat", "openat2", "linkat", "renameat", "unlinkat", "ftruncate", "fcntl", "utimensat", "fchmod"]:
            for number in range(1, 60, 3 if call in ("openat2", "fcntl") else 1):
                shutil.rmtree(host.instances)
                os.mkdir(host.instances)
                done = subprocess.run(["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
                                       f"inject={call}:signal=SIGKILL:when={number}", PLATTER,
                                       *host.words("provision", backend=backend), "--base", host.qcow2, "--size", "8M"],
                                      capture_output=True, timeout=60, check=False,
                                      env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})  # it traces, too
                if done.returncode == 0:
                    break
                if b"ptrace" in done.stderr or b"invalid" in done.stderr:
                    raise Skip(done.stderr.decode())
                assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done
                kills += 1
                check_after_kill(host, backend, (backend, call, number))
    assert kills >= 20, kills


def test_kills_at_random_times(cleanup):
    host = Host(cleanup)
    seed = int(os.environ.get("PLATTER_SEED", "1"))
    chance = random.Random(seed)
    for backend in ["qcow2", "flat"]:
        for _ in range(10):
            shutil.rmtree(host.instances)
            os.mkdir(host.instances)
            process = start(*host.words("provision", backend=backend), "--base", host.qcow2, "--size", "8M")
            time.sleep(chance.random() * 0.3)
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            check_after_kill(host, backend, (backend, seed))


def test_no_race_leads_out_of_the_folder(cleanup):
    """The instance's folder is a link to elsewhere at one moment, and itself at the next."""
    host = Host(cleanup)
    outside = os.path.join(host.folder, "outside")
    os.mkdir(outside)
    check_ok(host.provision("--base", host.raw, number=1))
    folder, link = os.path.dirname(host.disk()), os.path.join(host.folder, "link")
    stop = threading.Event()

    def attack():
        while not stop.is_set():
            shutil.rmtree(folder, ignore_errors=True)
            try:
                os.symlink(outside, folder)
                os.unlink(folder)
            except OSError:
                pass

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        for _ in range(30):
            host.provision("--base", host.raw)
    finally:
        stop.set()
        attacker.join()
    assert os.listdir(outside) == [] and not os.path.exists(link)


def crowd(host, processes, bases, disks, kill_chance, seed):
    """Many processes at once ask for the same bases and disks; some are killed. Returns how many were."""
    chance = random.Random(seed)
    images = []
    for number in range(bases):
        images.append(write_layout(os.path.join(host.folder, f"base{number}"), f"2M 64K+64K={number + 1}"))
    running, kills = {}, 0
    jobs = [(number % disks, chance.random() < kill_chance) for number in range(processes)]
    for number, kill in jobs:
        words = [*host.words("provision", number), "--base", images[number % bases], "--image-id", f"i{number % bases}",
                 "--size", "4M"]
        running[start(*words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)] = kill
    for process, kill in running.items():
        if kill:
            time.sleep(chance.random() * 0.05)
            process.kill()
            kills += 1
    for process, kill in running.items():
        err = process.communicate(timeout=120)[1]
        assert kill or process.returncode == 0, (process.returncode, err)
    for number in range(disks):
        check_ok(host.provision("--base", images[number % bases], "--image-id", f"i{number % bases}", "--size", "4M",
                                number=number))
        expected = contents(images[number % bases])
        raw = os.path.join(host.folder, "out")
        check_ok(run(*host.words("extract", number), raw))
        assert contents(raw)[: len(expected)] == expected, number
    assert host.leftovers() == [], host.leftovers()
    return kills


def test_many_processes_with_kills(cleanup):
    """scripts/soak asks for more."""
    processes, bases, disks = (int(number) for number in os.environ.get("PLATTER_CROWD", "24 3 8").split())
    seed = int(os.environ.get("PLATTER_SEED", "1"))
    assert crowd(Host(cleanup), processes, bases, disks, kill_chance=0.25, seed=seed) > 0


if __name__ == "__main__":
    sys.exit(run_suite("provision", [value for name, value in list(globals().items()) if name.startswith("test_")]))
