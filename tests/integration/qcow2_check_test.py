#!/usr/bin/env python3
"""platter check beside qemu-img check on images that are broken in one way each (broken_images.py).

Standard output (JSON), standard error and exit code are the same, with and without repair, and qemu-img
finds as much left after either one's repair; guests still read what they read before. Where platter
means to differ, DIFFERENCES says why; a difference that is listed and does not show is a failure.
qcow2_check_test.py [TEXT...]: only cases whose names hold a text.
"""

import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from broken_images import BASES, BREAKAGES, Image, make_base
from support import PLATTER, QEMU_IMG, QEMU_IO, one_line

TIMEOUT_S = 60
OPTION_SETS = {"": [], "leaks": ["-r", "leaks"], "all": ["-r", "all"]}

_PLACE = "a new snapshot table comes with new refcount structures, by one header write"
_OUTSIDE = "the file is not grown to a block's impossible place; new structures are made"
_TEXT = "one line with place and reason"
_OVERLAP = "refused in words of its own: the L2 table is other metadata, too"
_CUT = "what is there of a table that ends past the end of the file is not freed"
_MENDS = "mended, where qemu-img fails"

# Pattern of case -> (what may differ: out, err, code, left; why). "left": what qemu-img finds after a repair.
DIFFERENCES = {
    "refcount_0/bitmaps leaks": ("left", "bitmaps are neither loaded nor stored"),
    "table/reserved_bits all": ("out err code left", _MENDS),
    "table/block_unaligned leaks": ("err", "the image is not marked corrupt on the way"),
    "table/block_unaligned all": ("out err code left", _MENDS),
    "table/block_outside all": ("out err", _OUTSIDE),
    "table/first_block_outside all": ("out err", _OUTSIDE),
    "l1/flags_alone all": ("err left", _OVERLAP),
    "l1/is_the_header all": ("err left", _OVERLAP),
    "data_file/snapshots all": ("out", _PLACE),
    "snapshot/l1_ends_past_end leaks": ("out err", _CUT),
    "snapshot/l1_ends_past_end all": ("err left", _CUT),
    "snapshot/too_many ": ("err", _TEXT),
    "snapshot/too_many leaks": ("err", _TEXT),
    "snapshot/too_many all": ("out err code left", _MENDS),
    "snapshot/table_past_end all": ("out err", _PLACE),
    "snapshot/table_unaligned *": ("err", _TEXT),
    "snapshot/extra_too_large ": ("err", _TEXT),
    "snapshot/extra_too_large leaks": ("err", _TEXT),
    "snapshot/extra_too_large all": ("out", _PLACE),
    "snapshot/extra_huge ": ("err", _TEXT),
    "snapshot/extra_huge leaks": ("err", _TEXT),
    "snapshot/extra_huge all": ("out", _PLACE),
    "snapshot/extra_missing all": ("out", _PLACE),
    "bitmaps/autoclear *": ("err", "no warning that bitmaps are inconsistent: info tells"),
    "bitmaps/directory_refcount_0 leaks": ("err", "bitmaps are neither loaded nor stored"),
    "file/cut_in_l1 all": ("err left", _OVERLAP),
    "file/header_alone all": ("out err code left", _MENDS),
}
# The guest's first cluster is an L2 table at the same time: flags that are corrected in it show there.
GUEST_SEES_TABLES = ("l2/is_l2",)


def run(tool, folder, *words):
    done = subprocess.run([tool, *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=TIMEOUT_S, env=os.environ | {"LC_ALL": "C"})
    return done.returncode, done.stdout, done.stderr


def guest_contents(folder):
    """What a guest reads, or that it can't be read."""
    code, _, _ = run(QEMU_IMG, folder, "convert", "-O", "raw", "a.qcow2", "out.raw")
    if code != 0:
        return None
    with open(os.path.join(folder, "out.raw"), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def what_is_left(folder):
    """Exit code and counts; where the image ends does not matter."""
    code, out, _ = run(QEMU_IMG, folder, "check", "--output=json", "a.qcow2")
    counts = json.loads(out) if out else {}
    return code, counts.get("corruptions", 0), counts.get("leaks", 0), counts.get("check-errors", 0)


def one_run(tool, bases, name, words):
    """What checking prints, and what qemu-img finds afterwards."""
    base, breakage = BREAKAGES[name]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(os.path.join(bases, base), folder, dirs_exist_ok=True)
        path = os.path.join(folder, "a.qcow2")
        image = Image(path)
        breakage(image)
        image.save(path)
        before = guest_contents(folder) if words else None
        code, out, err = run(tool, folder, "check", "--output=json", *words, "a.qcow2")
        result = {"out": out, "err": err, "code": code}
        if words:
            result["left"] = what_is_left(folder)
            after = guest_contents(folder)
            sees_tables = name in GUEST_SEES_TABLES
            if before is not None and before != after and tool != QEMU_IMG and not sees_tables:
                raise AssertionError("guests read something else after the repair")
        return result


def one_case(link, bases, name, kind):
    case = f"{name} {kind}"
    ours = one_run(link, bases, name, OPTION_SETS[kind])
    theirs = one_run(QEMU_IMG, bases, name, OPTION_SETS[kind])
    found = {what for what in ours if ours[what] != theirs[what]}
    allowed = set()
    for pattern, (parts, _) in DIFFERENCES.items():
        if fnmatch.fnmatchcase(case, pattern):
            allowed |= set(parts.split())
    if found != allowed:
        texts = [f"{what}: {ours[what]!r}, qemu-img: {theirs[what]!r}" for what in sorted(found)]
        raise AssertionError(f"differ: {sorted(found)}, listed: {sorted(allowed)}; " + "; ".join(texts))


def expect(folder, words, code, text):
    got, out, err = run(PLATTER, folder, *words)
    if got != code or text not in (out + err).decode(errors="replace"):
        raise AssertionError(f"{words}: exit {got}, {out!r}, {err!r}, wanted {code}, {text!r}")


def create(folder, *words):
    code, _, err = run(QEMU_IMG, folder, "create", "-q", "-f", "qcow2", *words)
    if code != 0:
        raise AssertionError(err)


def test_neither_backing_file_nor_data_file_is_needed(folder):
    create(folder, "-u", "-b", "gone", "-F", "raw", "a", "1M")
    expect(folder, ["check", "a"], 0, "No errors were found on the image.")
    create(folder, "-o", "data_file=data", "b", "1M")
    os.unlink(os.path.join(folder, "data"))
    expect(folder, ["check", "-r", "all", "b"], 0, "No errors were found on the image.")


def test_encrypted_images_are_checked_without_their_secret(folder):
    for kind in ("aes", "luks"):
        options = f"encrypt.format={kind},encrypt.key-secret=s"
        for attempt in range(5):  # making LUKS headers sometimes fails on virtual machines
            try:
                create(folder, "--object", "secret,id=s,data=x", "-o", options, kind, "1M")
                break
            except AssertionError:
                if attempt == 4:
                    raise
        expect(folder, ["check", kind], 0, "No errors were found on the image.")
        expect(folder, ["check", "-r", "all", kind], 0, "No errors were found on the image.")


def test_an_image_in_use_is_not_repaired(folder):
    create(folder, "a", "1M")
    argv = [QEMU_IO, "a"]
    with subprocess.Popen(argv, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        user.stdin.write(b"write 0 64k\n")
        user.stdin.flush()
        user.stdout.readline()
        try:
            expect(folder, ["check", "-r", "all", "a"], 1, "lock")
            expect(folder, ["check", "a"], 1, "lock")
            expect(folder, ["check", "-U", "a"], 0, "Image end offset")
        finally:
            user.communicate(b"quit\n")


def run_named(test):
    name = "qcow2_check." + test.__name__.removeprefix("test_")
    with tempfile.TemporaryDirectory() as folder:
        try:
            test(folder)
            print("PASS", name, flush=True)
            return True
        except Exception as why:  # noqa: BLE001  the other cases go on
            print("FAIL", name, one_line(why), flush=True)
            return False


def main():
    wanted = sys.argv[1:]
    cases = [(name, kind) for name in BREAKAGES for kind in OPTION_SETS]
    chosen = [case for case in cases if not wanted or any(text in " ".join(case) for text in wanted)]
    failed = False
    for test in [value for key, value in globals().items() if key.startswith("test_")]:
        if not wanted or any(text in test.__name__ for text in wanted):
            failed |= not run_named(test)
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, "qemu-img")  # the name in messages
        os.symlink(PLATTER, link)
        for base in BASES:
            os.mkdir(os.path.join(folder, base))
            make_base(os.path.join(folder, base), base)

        def attempt(case):
            try:
                one_case(link, folder, *case)
                return None
            except Exception as why:  # noqa: BLE001  the other cases go on
                return one_line(why)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for (name, kind), why in zip(chosen, pool.map(attempt, chosen)):
                failed |= why is not None
                label = f"qcow2_check.{name}[{kind or 'only'}]"
                print(f"FAIL {label} {why}" if why else f"PASS {label}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
