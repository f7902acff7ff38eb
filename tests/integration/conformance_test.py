#!/usr/bin/env python3
"""platter against Debian's qemu-img and qemu-io: equal commands on equal files in equal folders.

conformance_test.py [-v] [TEXT...]: only cases whose names hold a text; -v shows listed differences too.
"""

import fnmatch
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from conformance.differences import DIFFERENCES
from qcow2_bitmaps import bitmaps_of, mark_in_use
from support import KIB, PLATTER, QEMU_IMG, QEMU_IO, digest_of, one_line, text_of, write_layout

VERBS = (
    "usage", "amend", "bench", "bitmap", "bitmap_in_use", "check", "commit", "create", "create_qcow2", "dd", "file_format", "image_opts", "objects", "info", "map", "measure", "rebase",
    "resize", "compare", "convert", "convert_bitmaps", "snapshot", "io",
)
TIMEOUT_S = 60


def make_qcow2(folder, name, what):
    how, *writes = what.split(" | ")
    subprocess.run([QEMU_IMG, "create", "-q", "-f", "qcow2", *how.split()[1:-1], "--", name, how.split()[-1]], check=True, cwd=folder)
    return [word for write in writes for word in ("-c", write)]


def write_qcow2(folder, name, words):
    if words:
        subprocess.run(["qemu-io", "-f", "qcow2", *words, name], check=True, cwd=folder, stdout=subprocess.DEVNULL)


def make_bitmaps(folder, name, what):
    """'bitmaps NAMES of qcow2 ...': names with commas between; - after one: disabled; ! after that: in use, as a crash leaves it."""
    names, _, image = what.removeprefix("bitmaps ").partition(" of ")
    words = make_qcow2(folder, name, image)
    for bitmap in names.split(","):
        disabled = ["--disable"] if "-" in bitmap else []
        subprocess.run([QEMU_IMG, "bitmap", "--add", *disabled, name, bitmap.rstrip("-!")], check=True, cwd=folder)
    write_qcow2(folder, name, words)
    mark_in_use(os.path.join(folder, name), [bitmap.rstrip("-!") for bitmap in names.split(",") if "!" in bitmap])


def make(folder, name, what):
    path = os.path.join(os.fsencode(folder), os.fsencode(name))
    if what == "dir":
        os.mkdir(path)
    elif what == "fifo":
        os.mkfifo(path)
    elif what.startswith("-> "):
        os.symlink(what[3:], path)
    elif what.startswith("bitmaps "):
        make_bitmaps(folder, name, what)
    elif what.startswith("qcow2 "):
        write_qcow2(folder, name, make_qcow2(folder, name, what))
    else:
        write_layout(path, what)


def is_qcow2(path):
    with open(path, "rb") as file:
        return file.read(4) == b"QFI\xfb"


def contents_of_qcow2(path):
    """What an image holds, wherever: facts, contents, faults, snapshots (but for their dates) and bitmaps."""

    def ask(*words):
        done = subprocess.run([QEMU_IMG, *words], capture_output=True)
        return done.returncode, done.stdout

    def contents(*options):
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(path)) as raw:
            code, _ = ask("convert", "-O", "raw", *options, path, raw.name)
            return code, digest_of(raw.name)

    info = json.loads(ask("info", "--output=json", path)[1])
    snapshots = [
        {key: snapshot[key] for key in snapshot if not key.startswith("date")} for snapshot in info.get("snapshots", ())
    ]
    each = [contents("-l", "snapshot.id=" + snapshot["id"]) for snapshot in snapshots]
    facts = [info.get(fact) for fact in ("virtual-size", "backing-filename", "backing-filename-format", "format-specific")]
    return facts, contents(), ask("check", path)[0], snapshots, each, bitmaps_of(path)


def state_of(folder, by_contents):
    """Every name in the folder, hidden ones too: what it is, its contents, and blocks."""
    state, blocks = {}, {}
    for entry in os.scandir(os.fsencode(folder)):
        if entry.is_symlink():
            state[entry.name] = os.readlink(entry.path)
        elif entry.is_file():
            state[entry.name] = (*digest_of(entry.path), oct(entry.stat().st_mode))
            if by_contents and is_qcow2(entry.path):
                state[entry.name] = contents_of_qcow2(entry.path)
            blocks[entry.name] = entry.stat().st_blocks * 512
        else:
            state[entry.name] = "folder"
    return state, blocks


def run_all(tool, folder, commands):
    """What the commands print and how they end."""
    results = []
    for command in commands:
        command, typed = command if isinstance(command, tuple) else (command, "")
        words = shlex.split(command) if isinstance(command, str) else command
        done = subprocess.run(
            [tool, *words], cwd=folder, input=typed.encode(), capture_output=True, timeout=TIMEOUT_S,
            env=os.environ | {"LC_ALL": "C"},
        )
        results.append((done.returncode, text_of(done.stdout), text_of(done.stderr)))
    return results


def comparable(text):
    """Without what no two runs have in common: which steps of progress are seen depends on the pieces'
    sizes, a benchmark's time on everything, and a snapshot's date on the moment."""

    def summary(match):
        steps = [float(step) for step in re.findall(r"\((.*?)/100%\)", match[0])]
        order = "rising" if steps == sorted(steps) else "falling"
        return f"<{order} from {steps[0]:.2f} to {'100' if steps[-1] == 100 else 'less'}>"

    text = re.sub(r"(?<= B )\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?=\d\d:)", "<now> ", text)
    text = re.sub(r" ops; \S+(?: sec)? \(\S+ \w+/sec and \S+ ops/sec\)\n", " ops; <time>\n", text)
    text = re.sub(r"(?m)^(\d+,\d+),\d+:\d\d:\d\d\.\d\d,\d+\.\d{3},\d+\.\d{3}$", r"\1,<time>", text)
    text = re.sub(r"(?<=Run completed in )\d+\.\d{3}(?= seconds\.\n)", "<time>", text)
    return re.sub(r"(?: {4}\(\d+\.\d\d/100%\)\r)+", summary, text)


def blocks_differ(ours, theirs):
    """The amount of data is what matters; a few blocks of allocation granularity are not."""
    return any(abs(ours[name] - theirs[name]) > 32 * KIB for name in ours.keys() & theirs.keys())


def blocks_exceed(ours, theirs, slack):
    """Images that hold the same, made by many commands: what counts is that they take no more."""
    return any(ours[name] > theirs[name] + slack for name in ours.keys() & theirs.keys())


def compare_runs(ours, theirs, by_contents):
    """The differences as pairs: what, and a text."""

    def comparable_here(text):
        text = comparable(text)
        if not by_contents:
            return text
        text = re.sub(r'"actual-size": \d+', '"actual-size": <some>', text)
        return re.sub(r"(?m)^disk size: .*$", "disk size: <some>", text)

    found = []
    for (code, out, err), (their_code, their_out, their_err) in zip(ours, theirs):
        for what, mine, other in (("code", code, their_code), ("stdout", out, their_out), ("stderr", err, their_err)):
            if comparable_here(str(mine)) != comparable_here(str(other)):
                found.append((what, f"{what}: {mine!r}, qemu-img: {other!r}"))
    return found


def run_case(case, tools):
    """The differences of one case."""
    name, files, commands = case
    # Where dates are written, and where clusters are taken, no two programs agree.
    by_contents = name.startswith(
        ("amend/", "bitmap/", "bitmap_in_use/", "commit/", "convert_bitmaps/", "dd/", "file_format/", "image_opts/", "io/", "measure/", "objects/", "rebase/", "snapshot/"))
    # Clusters that were reserved whole and written in part: some, after many requests.
    slack = (256 if name.startswith("io/random_") else 64) * KIB
    results = []
    for tool in tools:
        # Equal in length too: some messages hold the folder.
        folder = tempfile.mkdtemp(prefix="it.")
        try:
            for file, what in files.items():
                make(folder, file, what)
            printed = run_all(tool, folder, commands)
            results.append((printed, *state_of(folder, by_contents)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    (ours, state, blocks), (theirs, their_state, their_blocks) = results
    found = compare_runs(ours, theirs, by_contents)
    if state != their_state:
        found.append(("files", f"files: {state}, qemu-img: {their_state}"))
    elif by_contents and blocks_exceed(blocks, their_blocks, slack):
        found.append(("blocks", f"blocks: {blocks}, qemu-img: {their_blocks}"))
    elif not by_contents and blocks_differ(blocks, their_blocks):
        found.append(("blocks", f"blocks: {blocks}, qemu-img: {their_blocks}"))
    return found


def tools_for(name, links):
    """Ours, by a link, and the other one."""
    theirs = QEMU_IO if name.startswith("io/") else QEMU_IMG
    return os.path.join(links, os.path.basename(theirs)), theirs


def judge(name, found, verbose):
    """The line to print for a case, and whether it is a failure."""
    allowed, seen = {}, {what for what, _ in found}
    for pattern, (parts, why) in DIFFERENCES.items():
        if fnmatch.fnmatchcase(name, pattern):
            allowed |= dict.fromkeys(parts, why)
    wrong = [text for what, text in found if what not in allowed]
    if wrong:
        return f"FAIL conformance.{name} {one_line('; '.join(wrong))}", True
    unseen = allowed.keys() - seen
    if unseen:
        return f"FAIL conformance.{name} listed as different, but is not: {', '.join(unseen)}", True
    notes = "".join(f"\n  {text}" for _, text in found) if verbose else ""
    return f"PASS conformance.{name}{notes}", False


def main():
    wanted = [text for text in sys.argv[1:] if text != "-v"]
    verbose = "-v" in sys.argv
    cases = [case for verb in VERBS for case in importlib.import_module("conformance." + verb).CASES]
    chosen = [case for case in cases if not wanted or any(text in case[0] for text in wanted)]
    assert len({case[0] for case in cases}) == len(cases), "two cases have one name"
    links = tempfile.mkdtemp()
    for name in ("qemu-img", "qemu-io"):  # the name in messages
        os.symlink(PLATTER, os.path.join(links, name))
    failed = False
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(lambda case: run_case(case, tools_for(case[0], links)), chosen)
            for case, found in zip(chosen, results):
                line, bad = judge(case[0], found, verbose)
                failed |= bad
                print(line, flush=True)
    finally:
        shutil.rmtree(links)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
