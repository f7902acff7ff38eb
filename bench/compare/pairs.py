"""What the comparisons share: paired runs, their medians, and what the kernel says they used."""

import os
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


def in_turns(rounds, contestants, prepare=lambda: None, warm_up=False):
    """Runs every contestant once a round, in changing order; returns name -> [result].

    With warm_up, one round goes uncounted: memory that a virtual machine touches for the first
    time costs its host's page faults, whoever comes first."""
    names = list(contestants)
    if warm_up:
        in_turns(1, contestants, prepare)
    results = {name: [] for name in names}
    for number in range(rounds):
        turn = names[number % len(names):] + names[:number % len(names)]
        for name in turn:
            prepare()
            results[name].append(contestants[name]())
    return results


def median(values):
    return statistics.median(values)


def ratio_of_pairs(ours, theirs):
    """Median over the rounds of theirs / ours: above 1, ours is better."""
    return median([t / o for o, t in zip(ours, theirs)])


def settle():
    """What earlier runs left to be written must not be paid for by the next one."""
    os.sync()
