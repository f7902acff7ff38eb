#!/usr/bin/python3
"""`platter volume` in a guest that has device-mapper: what it makes, what it refuses, what a kill leaves.

Runs in the guest of tests/vm alone; the machine's own volumes are never touched.
"""
import json
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)) + "/../integration")
from support import (  # noqa: E402
    MIB, PLATTER, check_fails, check_ok, pattern, run, run_suite, sh, text_of,
)

PREFIX = f"vm_{os.environ.get('IN_VM', 'none')}.volume"
GROUP = "vmcli"
KEY = b"0f" * 64  # as Nova has it: hexadecimal text of 512 bits
TOOLS = dict(os.environ, DM_DISABLE_UDEV="1")  # LVM's own commands have to be told that no udev runs


def disk(letter):
    return next(path for path in (f"/dev/ubd{letter}", f"/dev/vd{letter}") if os.path.exists(path))


def tool(*words, check=True, data=None):
    done = subprocess.run(list(map(str, words)), env=TOOLS, input=data, capture_output=True, timeout=120)
    if check and done.returncode != 0:
        raise AssertionError(f"{words}: {text_of(done.stderr)}")
    return text_of(done.stdout)


def group(cleanup):
    """An empty volume group, made by LVM's commands. What a test leaves in it, or mapped, is a failure."""
    tool("vgcreate", "-y", GROUP, disk("b"))
    cleanup.callback(tool, "pvremove", "-y", disk("b"), check=False)
    cleanup.callback(tool, "vgremove", "-y", "-f", GROUP, check=False)

    def leave_nothing():
        for name in names() * 2:  # what others need goes in the second round
            if name in names():
                remove(name)
        left = tool("dmsetup", "ls").strip()
        if left != "No devices found":
            tool("dmsetup", "remove_all", "-f", check=False)
            shutil.rmtree(f"/dev/{GROUP}", ignore_errors=True)
        assert left == "No devices found", left

    cleanup.callback(leave_nothing)
    return GROUP


def volumes():
    groups = json.loads(check_ok(volume("list", "--output=json", GROUP)).out)
    return {each["name"]: each for each in groups[0]["volumes"]}


def names():
    return list(volumes())


def remove(name):
    volume("remove", f"{GROUP}/{name}")


def volume(*words, data=None, **options):
    if data is not None:
        read, write = os.pipe()
        os.write(write, data)
        os.close(write)
        try:
            return run("volume", *words, stdin=read, timeout=300, **options)
        finally:
            os.close(read)
    return run("volume", *words, timeout=300, **options)


def write(path, data, offset=0):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read(path, length, offset=0):
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(length)


def executions(*words, data=b""):
    """Runs platter under strace; returns its exit code and the lines that start or become a program."""
    trace = os.environ["TMPDIR"] + "/trace"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=execve,execveat,fork,vfork", "-o", trace, PLATTER, *words],
        input=data, capture_output=True, timeout=300)
    with open(trace) as file:
        return done, [line for line in file if "exec" in line or "fork(" in line]


def test_no_program_is_started(cleanup):
    # First of all, while the kernel lacks the modules: LVM would start modprobe.
    group(cleanup)
    steps = [
        (["create", "--kind=thin-pool", f"{GROUP}/pool", "64M"], b""),
        (["create", "--pool=pool", f"{GROUP}/thin", "1G"], b""),
        (["snapshot", f"{GROUP}/thin", "thinsnap"], b""),
        (["create", f"{GROUP}/disk", "16M"], b""),
        (["extend", f"{GROUP}/disk", "+8M"], b""),
        (["snapshot", f"{GROUP}/disk", "snap", "8M"], b""),
        (["list"], b""),
        (["remove", f"{GROUP}/snap"], b""),
        (["open", "--type=plain", "--key-file=-", f"{GROUP}/disk"], KEY),
        (["close", f"{GROUP}/disk"], b""),
        (["format", "--type=luks1", "--iter-time=10", "--key-file=-", f"{GROUP}/disk"], KEY),
        (["open", "--key-file=-", f"{GROUP}/disk"], KEY),
        (["close", f"{GROUP}/disk"], b""),
        *((["remove", f"{GROUP}/{name}"], b"") for name in ("thinsnap", "thin", "pool")),
        (["remove", "--wipe=zero", f"{GROUP}/disk"], b""),
    ]
    for words, data in steps:
        done, lines = executions("volume", *words, data=data)
        assert done.returncode == 0, (words, done.stderr)
        assert len(lines) == 1, (words, lines)


def test_list_tells_what_lvm_tells(cleanup):
    group(cleanup)
    check_ok(volume("create", f"{GROUP}/a", "10M"), "")
    check_ok(volume("create", "--kind=thin-pool", f"{GROUP}/pool", "32M"), "")
    check_ok(volume("create", "--pool=pool", f"/dev/{GROUP}/thin", "1G"), "")
    found = volumes()
    assert sorted(found) == ["a", "pool", "thin"], found
    assert found["a"]["size"] == 12 * MIB and found["a"]["path"] == f"/dev/{GROUP}/a", found
    assert found["thin"]["kind"] == "thin" and found["thin"]["pool"] == "pool", found
    assert isinstance(found["pool"]["data-percent"], float), found
    text = check_ok(volume("list")).out
    assert text.startswith(f"{GROUP}: 508 MiB, "), text
    check_fails(volume("list", "nosuch"), "nosuch")
    for name in ("thin", "pool", "a"):
        check_ok(volume("remove", f"{GROUP}/{name}"), "")


def test_a_volume_is_a_device_for_every_verb(cleanup):
    group(cleanup)
    folder = cleanup.folder()
    source = folder + "/source"
    with open(source, "wb") as file:
        file.write(pattern(0, 4 * MIB))
    for name in ("raw", "qcow2"):
        check_ok(volume("create", f"{GROUP}/{name}", "16M"), "")
    check_ok(run("convert", "-f", "raw", "-O", "raw", "-n", source, f"/dev/{GROUP}/raw"))
    assert read(f"/dev/{GROUP}/raw", 4 * MIB) == pattern(0, 4 * MIB)
    check_ok(run("create", "-f", "qcow2", f"/dev/{GROUP}/qcow2", "8M"))
    check_ok(run("check", "-f", "qcow2", f"/dev/{GROUP}/qcow2"))
    check_ok(run("convert", "-f", "raw", "-O", "qcow2", source, f"/dev/{GROUP}/qcow2"))
    check_ok(run("compare", "-f", "raw", "-F", "qcow2", source, f"/dev/{GROUP}/qcow2"))
    for name in ("raw", "qcow2"):
        check_ok(volume("remove", f"{GROUP}/{name}"), "")


def test_nova_volume_life(cleanup):
    """Provision, encrypt, write, extend, snapshot, read back with cryptsetup, wipe, remove."""
    group(cleanup)
    name = f"{GROUP}/uuid_disk"
    check_ok(volume("create", name, "16M"), "")
    check_ok(volume("open", "--type=plain", "--key-file=-", name, data=KEY), "")
    mapping = "/dev/mapper/uuid_disk-dmcrypt"
    write(mapping, pattern(0, MIB))
    check_fails(volume("remove", "--wipe=zero", name), "resource busy")
    check_fails(volume("remove", name), "is used by another device")
    check_ok(volume("close", name), "")
    check_ok(volume("snapshot", name, "snap", "8M"), "")
    check_ok(volume("remove", f"{GROUP}/snap"), "")
    check_ok(volume("extend", name, "+16M"), "")
    assert read(f"/dev/{name}", MIB) != pattern(0, MIB)
    tool("cryptsetup", "open", "--type", "plain", "--key-file=-", "--cipher", "aes-xts-plain64", "--key-size",
         "512", "--hash", "ripemd160", f"/dev/{name}", "theirs", data=KEY)
    assert read("/dev/mapper/theirs", MIB) == pattern(0, MIB)
    tool("cryptsetup", "close", "theirs")
    check_ok(volume("wipe", "--first=1M", name), "")
    assert read(f"/dev/{name}", MIB) == bytes(MIB)
    check_ok(volume("remove", "--wipe=random", "--passes=2", name), "")
    assert names() == []


def test_wrong_use_is_refused_before_anything_happens(cleanup):
    group(cleanup)
    check_ok(volume("create", f"{GROUP}/a", "4M"), "")
    for words, text in [
        (["create", f"{GROUP}/b", "x"], "Invalid volume size"),
        (["create", f"{GROUP}/b", "0"], "0 bytes"),
        (["create", f"{GROUP}/-b", "4M"], "begins with a hyphen"),
        (["create", f"{GROUP}/b c", "4M"], "Invalid volume name"),
        (["create", f"{GROUP}/b#", "4M"], "Invalid volume name"),
        (["create", f"{GROUP}/'b'", "4M"], "Invalid volume name"),
        (["create", f"{GROUP}/../../etc", "4M"], "Invalid volume name"),
        (["create", "b", "4M"], "not GROUP/VOLUME"),
        (["create", "--kind=mirror", f"{GROUP}/b", "4M"], "not a kind of volume"),
        (["create", f"{GROUP}/b", "100G"], "nsufficient"),
        (["create", f"{GROUP}/a", "4M"], "already exists"),
        (["snapshot", f"{GROUP}/a", "s"], "is not thin"),
        (["extend", f"{GROUP}/a", "4M"], "existing size"),
        (["extend", f"{GROUP}/a", "+8E"], "is too much"),
        (["wipe", "--wipe=shred", f"{GROUP}/a"], "not a way to wipe"),
        (["open", f"{GROUP}/a"], "--key-file is needed"),
        (["open", "--key-file=/none", f"{GROUP}/a"], "No such file"),
        (["open", "--key-file=/dev/null", f"{GROUP}/a"], "is empty"),
        (["open", "--type=plain", "--key-file=/etc/hostname", "--hash=sha256", f"{GROUP}/a"], "--hash"),
        (["open", "--hash=sha256", "--key-file=-", f"{GROUP}/a"], "a LUKS header tells it"),
        (["open", "--key-file=/etc/passwd", f"{GROUP}/a"], "LUKS"),
        (["close", "nothing"], "not an encrypted mapping"),
        (["close", "a/b/c"], "Invalid volume name"),
        (["remove", f"{GROUP}/none"], "Failed to find logical volume"),
    ]:
        check_fails(volume(*words), text)
    assert names() == ["a"]
    check_ok(volume("remove", f"{GROUP}/a"), "")


# Each of the first system calls of a command, then ever fewer of them.
KILLED_AT = (1, 2, 3, 4, 6, 8, 11, 15, 20, 27, 36, 48, 64, 85, 113, 150, 200, 266, 355)


def kill_at(calls, words, count):
    """Runs platter and kills it at the count-th of these system calls. True if it came to that."""
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", f"trace={calls}", "-e", f"inject={calls}:signal=KILL:when={count}",
         "-o", "/dev/null", PLATTER, *words], capture_output=True, timeout=300)
    return done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)


def test_after_a_kill_at_any_step_the_volume_can_be_removed(cleanup):
    """Every ioctl (all of device-mapper's) and every write of metadata is a step."""
    group(cleanup)
    info = json.loads(volume("list", "--output=json", GROUP).out)[0]
    steps = 0
    for words in (["create", f"{GROUP}/a", "8M"], ["snapshot", f"{GROUP}/a", "s", "4M"],
                  ["extend", f"{GROUP}/a", "+4M"], ["remove", f"{GROUP}/a"]):
        for count in KILLED_AT:
            if words[0] != "create":
                check_ok(volume("create", f"{GROUP}/a", "8M"), "")
            killed = kill_at("ioctl,pwrite64,io_submit", ["volume", *words], count)
            steps += killed
            found = names()
            for name in ("s", "a"):
                if name in found:
                    check_ok(volume("remove", f"{GROUP}/{name}"), "")
            left = json.loads(volume("list", "--output=json", GROUP).out)[0]
            assert left == info, (words, count, left)
            assert tool("dmsetup", "ls").strip() == "No devices found", (words, count)
            if not killed:
                break
    assert steps > 20, steps


def test_a_killed_wipe_leaves_a_volume_that_can_be_wiped(cleanup):
    group(cleanup)
    check_ok(volume("create", f"{GROUP}/a", "64M"), "")
    process = subprocess.Popen([PLATTER, "volume", "remove", "--wipe=random", "--passes=100", f"{GROUP}/a"])
    cleanup.process(process)
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()
    assert names() == ["a"]
    process = cleanup.process(
        subprocess.Popen([PLATTER, "volume", "wipe", "--wipe=random", "--passes=100", f"{GROUP}/a"],
                         stderr=subprocess.DEVNULL))
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    check_ok(volume("remove", "--wipe=zero", f"{GROUP}/a"), "")


def test_a_failing_device_is_one_clear_error(cleanup):
    sectors = 64 * MIB // 512
    table = f"0 {sectors} linear {disk('c')} 0"
    tool("dmsetup", "create", "vmtest_flaky", "--table", table)
    cleanup.callback(tool, "dmsetup", "remove", "--retry", "vmtest_flaky", check=False)
    tool("vgcreate", "-y", "vmflaky", "/dev/mapper/vmtest_flaky")
    cleanup.callback(tool, "vgremove", "-y", "-f", "vmflaky", check=False)

    def reload(text):
        tool("dmsetup", "load", "vmtest_flaky", "--table", text)
        tool("dmsetup", "resume", "vmtest_flaky")

    cleanup.callback(reload, table)
    check_ok(volume("create", "vmflaky/a", "8M"), "")
    reload(f"0 {sectors} flakey {disk('c')} 0 0 600 1 error_writes")
    for words in (["create", "vmflaky/b", "8M"], ["extend", "vmflaky/a", "+8M"],
                  ["snapshot", "vmflaky/a", "s", "4M"], ["remove", "vmflaky/a"], ["wipe", "vmflaky/a"]):
        done = volume(*words)
        assert done.code == 1 and len(done.err.splitlines()) == 1 and done.err.startswith("platter: "), (words, done)
    reload(f"0 {sectors} error")
    for words in (["list", "vmflaky"], ["create", "vmflaky/b", "8M"], ["remove", "vmflaky/a"]):
        done = volume(*words)
        assert done.code == 1 and len(done.err.splitlines()) == 1, (words, done)
    reload(table)
    found = json.loads(check_ok(volume("list", "--output=json", "vmflaky")).out)
    assert [each["name"] for each in found[0]["volumes"]] == ["a"], found
    check_ok(volume("remove", "vmflaky/a"), "")


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    if "IN_VM" not in os.environ:
        sys.exit("run by tests/vm/suite, in its guest")
    sys.exit(run_suite(PREFIX, TESTS))
