"""What the comparisons share: paired runs, their medians, and what the kernel says they used."""

import mmap
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
GIB = 1 << 30


def scratch(folder=None):
    """A temporary folder on the disk to be measured: --dir, $BENCH_DIR or /var/tmp."""
    return tempfile.mkdtemp(prefix="platter-bench.", dir=folder or os.environ.get("BENCH_DIR", "/var/tmp"))


def need(*tools):
    for tool in tools:
        if shutil.which(tool) is None:
            sys.exit(f"bench: {tool} is not installed (scripts/deps bench)")


def platter():
    return os.environ.get("PLATTER_RELEASE") or os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "../../build/release/platter")


class Run:
    """One command's cost: wall and CPU seconds, peak resident KiB."""

    def __init__(self, argv):
        start = time.monotonic()
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        self.seconds = time.monotonic() - start
        if child.returncode != 0:
            sys.exit(f"bench: {' '.join(argv)}: exit {child.returncode}\n{output.decode()}")
        self.cpu = usage.ru_utime + usage.ru_stime
        self.peak_kib = usage.ru_maxrss
        self.output = output.decode(errors="replace")


def in_turns(rounds, contestants, prepare=lambda: None):
    """Runs every contestant once a round, each round in another order (the same ones every time, so
    that who follows whom changes too); returns name -> [result]."""
    shuffled = random.Random(1)
    results = {name: [] for name in contestants}
    for _ in range(rounds):
        for name in shuffled.sample(list(contestants), len(contestants)):
            prepare()
            results[name].append(contestants[name]())
    return results


def touch_memory(size):
    """Has `size` bytes of free memory backed by the host of a virtual machine.

    The first touch of a page that the host does not back (never used since the machine started, or
    given back while it was free) costs more than copying it, and counts as CPU seconds of whoever
    happens to touch it: 2 GiB of such pages cost 3 s and more, where the copy costs 1 s. What was
    freed last is handed out first."""
    with mmap.mmap(-1, size) as memory:
        memory[::mmap.PAGESIZE] = bytes(size // mmap.PAGESIZE)


def median(values):
    return statistics.median(values)


def quartiles(values):
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def pair_ratios(ours, theirs):
    """theirs / ours of each round: above 1, ours is better."""
    return [t / o for o, t in zip(ours, theirs)]


def ratio_of_pairs(ours, theirs):
    return median(pair_ratios(ours, theirs))


def settle():
    """What earlier runs left to be written must not be paid for by the next one."""
    os.sync()
