#!/usr/bin/python3
"""Images on a device that logs its writes (dm-log-writes): the log replayed up to every mark, and up to
places in between, shows what a power cut would have left. Runs in the guest of tests/vm.
"""
import os
import random
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)) + "/../integration")
from support import MIB, check_ok, pattern, run, run_suite  # noqa: E402

PREFIX = f"vm_{os.environ.get('IN_VM', 'none')}.log_writes"
SIZE = 32 * MIB
SEED = int(os.environ.get("PLATTER_SEED", "1"))
POINTS = 12  # between the marks
DISCARD, MARK = 4, 8


def disk(letter):
    return next(path for path in (f"/dev/ubd{letter}", f"/dev/vd{letter}") if os.path.exists(path))


def dmsetup(*words):
    done = subprocess.run(["dmsetup", *words], env=dict(os.environ, DM_DISABLE_UDEV="1"), capture_output=True)
    assert done.returncode == 0, (words, done.stderr)


class Logged:
    """A device of 32 MiB, all zeroes, with a log of what is written to it."""

    def __init__(self, cleanup):
        data, log = SIZE // 512, 256 * MIB // 512
        for name, start, count in (("data", 0, data), ("log", data, log)):
            dmsetup("create", f"vmlog_{name}", "--table", f"0 {count} linear {disk('c')} {start}")
            cleanup.callback(dmsetup, "remove", "--retry", f"vmlog_{name}")
        for name, length in (("data", SIZE), ("log", MIB)):
            with open(f"/dev/mapper/vmlog_{name}", "r+b") as file:
                file.write(bytes(length))
                file.flush()
                os.fsync(file.fileno())
        table = f"0 {data} log-writes /dev/mapper/vmlog_data /dev/mapper/vmlog_log"
        dmsetup("create", "vmlog", "--table", table)
        self.end = cleanup.enter_context(Ended())
        self.path = "/dev/mapper/vmlog"

    def mark(self, name):
        dmsetup("message", "vmlog", "0", "mark", name)

    def entries(self):
        """[(sector, count, flags, data)], data being the mark's name for a mark; ends the logging."""
        self.end.now()
        with open("/dev/mapper/vmlog_log", "rb") as file:
            magic, version, count, sector_size = struct.unpack_from("<QQQI", file.read(512))
            assert magic == 0x6A736677736872 and version == 1, (magic, version)
            file.seek(sector_size)
            found = []
            for _ in range(count):  # the last one is the target's own mark
                block = file.read(sector_size)
                sector, length, flags, data_length = struct.unpack_from("<QQQQ", block)
                data = b""
                if flags & MARK:
                    data = block[32 : 32 + data_length]
                elif not flags & DISCARD:
                    data = file.read(length * sector_size)
                found.append((sector * sector_size, length * sector_size, flags, data))
            assert found.pop()[3] == b"dm-log-writes-end"
            return found


class Ended:
    """The mapping, removed once."""

    def __init__(self):
        self.done = False

    def now(self):
        if not self.done:
            self.done = True
            dmsetup("remove", "--retry", "vmlog")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.now()


def states(entries, path):
    """Replays the log into a file; yields (names of the marks so far, whether this is a mark) at every mark
    and at some places in between."""
    dice = random.Random(SEED)
    chosen = set(dice.sample(range(len(entries)), min(POINTS, len(entries))))
    marks = []
    with open(path, "w+b", buffering=0) as file:
        file.truncate(SIZE)
        for index, (offset, length, flags, data) in enumerate(entries):
            if flags & MARK:
                marks.append(data.decode())
            elif flags & DISCARD:
                os.pwrite(file.fileno(), bytes(length), offset)
            elif length:
                os.pwrite(file.fileno(), data, offset)
            if flags & MARK or index in chosen:
                yield list(marks), bool(flags & MARK)


def source_file(folder, seed):
    path = f"{folder}/source{seed}"
    with open(path, "wb") as file:
        file.write(pattern(0, 6 * MIB, seed))
        file.truncate(16 * MIB)
    return path


def test_qcow2_survives_at_every_mark_and_between(cleanup):
    folder = cleanup.folder()
    source = source_file(folder, 1)
    device = Logged(cleanup)
    check_ok(run("create", "-q", "-f", "qcow2", device.path, "16M"))
    device.mark("made")
    check_ok(run("convert", "-n", "-f", "raw", "-O", "qcow2", source, device.path))
    device.mark("written")
    check_ok(run("snapshot", "-c", "one", device.path))
    device.mark("snapshot")
    check_ok(run("resize", "-q", "-f", "qcow2", device.path, "24M"))
    check_ok(run("snapshot", "-a", "one", device.path))
    check_ok(run("snapshot", "-d", "one", device.path))
    check_ok(run("bitmap", "--add", "-f", "qcow2", device.path, "b"))
    device.mark("back")
    image = folder + "/image"
    looked_at = 0
    for marks, is_mark in states(device.entries(), image):
        if not marks:
            continue  # there is no image yet
        looked_at += 1
        state = f"{marks}, mark {is_mark}"
        checked = run("check", "-f", "qcow2", image)
        if is_mark:
            assert checked.code == 0, f"{state}: {checked}"
        elif checked.code != 0:
            # Leaked clusters and stale COPIED flags: what repairing leaks alone mends.
            mended = shutil.copy(image, folder + "/mended")
            repaired = run("check", "-f", "qcow2", "-r", "leaks", mended)
            again = run("check", "-f", "qcow2", mended)
            assert again.code == 0, f"{state}: {checked}, then {repaired}, then {again}"
        if "written" in marks:
            check_ok(run("compare", "-f", "raw", "-F", "qcow2", source, image))
    assert looked_at >= 4, looked_at


def test_raw_is_old_or_new_in_every_sector(cleanup):
    folder = cleanup.folder()
    device = Logged(cleanup)
    contents = [bytes(16 * MIB)]
    for seed in (1, 2):
        source = source_file(folder, seed)
        check_ok(run("convert", "-n", "-f", "raw", "-O", "raw", source, device.path))
        device.mark(str(seed))
        with open(source, "rb") as file:
            contents.append(file.read())
    image = folder + "/image"
    for marks, is_mark in states(device.entries(), image):
        with open(image, "rb") as file:
            found = file.read(16 * MIB)
        before = contents[len(marks)]
        if is_mark:
            assert found == before, marks
            continue
        after = contents[min(len(marks) + 1, 2)]
        for at in range(0, len(found), 512):
            piece = found[at : at + 512]
            assert piece in (before[at : at + 512], after[at : at + 512]), (marks, at)


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    if "IN_VM" not in os.environ:
        sys.exit("run by tests/vm/suite, in its guest")
    sys.exit(run_suite(PREFIX, TESTS))
