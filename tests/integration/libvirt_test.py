#!/usr/bin/env python3
"""libvirt's storage driver with platter in qemu-img's place.

Debian's libvirtd runs twice, as an unprivileged user with folders of its own (nothing of the system's libvirt is
read or written): once it finds platter under the name qemu-img, once qemu-img itself. The same lines of virsh are given
to both. What virsh prints, the commands that libvirt gives its qemu-img, and the volumes must be equal.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from support import KIB, PLATTER, QEMU_IMG, Cleanup, Skip, as_nobody, digest_of, pattern, run_suite, sh, text_of, wait_until

LIBVIRTD = "/usr/sbin/libvirtd"
TIMEOUT_S = 120

VOLUME = """<volume>
  <name>{name}</name>
  <capacity unit="MiB">12</capacity>
  <allocation unit="MiB">{allocation}</allocation>
  <target><format type="{format}"/><permissions><mode>0640</mode></permissions>{more}</target>
  {backing}
</volume>
"""


def volume(name, format="qcow2", more="", backing="", allocation=0):
    return VOLUME.format(name=name, format=format, more=more, backing=backing, allocation=allocation)


# Files that the lines below use.
INPUTS = {
    "small.xml": volume("v", "raw", allocation=12),
    "compat.xml": volume("v", more="<compat>1.1</compat>"),
    "lazy.xml": volume("v", more="<compat>1.1</compat><features><lazy_refcounts/></features>"),
    "cluster.xml": volume("v", more='<compat>1.1</compat><clusterSize unit="KiB">16</clusterSize>'),
    "over.xml": volume(
        "over", more="<compat>1.1</compat>",
        backing='<backingStore><path>POOL/base</path><format type="qcow2"/></backingStore>'),
    "copy_qcow2.xml": volume("copy", more="<compat>1.1</compat>"),
    "copy_raw.xml": volume("copy", "raw"),
    "data": pattern(0, 3 << 20) + bytes(5 << 20) + pattern(8 << 20, 1 << 20),
    "piece": pattern(0, 64 << 10, seed=2),
    "broken": b"QFI\xfb" + b"\0\0\0\x03" + bytes(96) + b"\xff" * 512,
}

# Name, the lines for virsh, and how often libvirt runs its qemu-img for them. POOL: the pool's folder.
SCENARIOS = [
    ("creates_raw", ["vol-create-as p v 10M --format raw", "vol-create-as p full 3M --allocation 3M --format raw",
                     "vol-info v p", "vol-dumpxml v p"], 0),
    ("creates_qcow2", ["vol-create-as p v 10M --format qcow2", "vol-info v p", "vol-dumpxml v p"], 1),
    ("creates_large_qcow2", ["vol-create-as p v 2T --format qcow2", "vol-info v p"], 1),
    ("creates_with_metadata", ["vol-create-as p v 40M --format qcow2 --prealloc-metadata", "vol-info v p"], 1),
    ("creates_reserved", ["vol-create-as p v 10M --format qcow2 --allocation 10M", "vol-info v p"], 1),
    ("creates_over_backing", ["vol-create-as p base 10M --format qcow2",
                              "vol-create-as p over 20M --format qcow2 --backing-vol base --backing-vol-format qcow2",
                              "vol-create-as p above 20M --format qcow2 --backing-vol over --backing-vol-format qcow2",
                              "vol-dumpxml above p", "vol-info over p"], 3),
    ("creates_over_raw", ["vol-create-as p base 10M --format raw", "vol-upload base data --pool p",
                          "vol-create-as p over 10M --format qcow2 --backing-vol base --backing-vol-format raw",
                          "vol-dumpxml over p", "vol-clone over copy --pool p"], 2),
    ("xml_raw", ["vol-create p small.xml", "vol-info v p"], 0),
    ("xml_compat", ["vol-create p compat.xml", "vol-dumpxml v p"], 1),
    ("xml_lazy_refcounts", ["vol-create p lazy.xml", "vol-dumpxml v p"], 1),
    ("xml_cluster_size", ["vol-create p cluster.xml", "vol-dumpxml v p"], 1),
    ("xml_with_metadata", ["vol-create p lazy.xml --prealloc-metadata", "vol-info v p"], 1),
    ("xml_over_backing", ["vol-create-as p base 10M --format qcow2", "vol-create p over.xml", "vol-dumpxml over p"], 2),
    ("clones_raw", ["vol-create-as p v 10M --format raw", "vol-upload v data --pool p", "vol-clone v copy --pool p"], 0),
    ("clones_qcow2", ["vol-create p lazy.xml", "vol-clone v copy --pool p", "vol-dumpxml copy p"], 2),
    ("clones_data", ["vol-create-as p v 10M --format raw", "vol-upload v data --pool p",
                     "vol-create-from p copy_qcow2.xml v --inputpool p", "vol-info copy p",
                     "vol-clone copy second --pool p", "vol-info second p"], 2),
    ("clones_to_raw", ["vol-create-as p v 10M --format raw", "vol-upload v data --pool p",
                       "vol-create-from p copy_qcow2.xml v --inputpool p", "vol-clone copy v2 --pool p",
                       "vol-delete copy p", "vol-create-from p copy_raw.xml v2 --inputpool p"], 3),
    ("resizes_raw", ["vol-create-as p v 10M --format raw", "vol-resize v 30M --pool p", "vol-info v p"], 0),
    ("shrinks_raw", ["vol-create-as p v 10M --format raw", "vol-resize v 5M --pool p",
                     "vol-resize v 5M --shrink --pool p", "vol-info v p"], None),
    ("resizes_qcow2", ["vol-create-as p v 10M --format qcow2", "vol-resize v 30M --pool p",
                       "vol-resize v 7M --delta --pool p", "vol-info v p", "vol-dumpxml v p"], 3),
    ("shrinks_qcow2", ["vol-create-as p v 10M --format qcow2", "vol-resize v 5M --pool p",
                       "vol-resize v 5M --shrink --pool p", "vol-info v p"], None),
    ("reserves_qcow2", ["vol-create-as p v 10M --format qcow2", "vol-resize v 12M --allocate --pool p"], None),
    ("uploads", ["vol-create-as p v 9M --format raw", "vol-upload v data --pool p", "vol-download v back --pool p",
                 "vol-upload v piece --offset 4096 --length 65536 --pool p", "vol-info v p"], 0),
    ("deletes", ["vol-create-as p v 10M --format qcow2", "vol-create-as p w 10M --format qcow2", "vol-delete v p",
                 "vol-list p"], 2),
    ("refuses_broken", ["vol-create-as p v 1M --format qcow2", "vol-upload v broken --pool p",
                        "vol-clone v copy --pool p", "vol-list p"], None),
    ("refuses_no_such_backing", ["vol-create p over.xml", "vol-list p"], None),
]


class Daemon:
    """A libvirtd of its own, whose qemu-img is `tool`."""

    def __init__(self, cleanup, tool):
        self.home = cleanup.folder()
        self.tool = self.home + "/tool"
        self.log = self.home + "/log"
        shutil.copy(tool, self.tool)
        for folder in ("bin", "run", "config", "cache", "share"):
            os.mkdir(f"{self.home}/{folder}")
        # Each run is written down with its arguments; then the tool runs under the name of qemu-img.
        with open(self.home + "/bin/qemu-img", "w") as file:
            file.write(f'#!/bin/bash\nprintf "%q " "$@" >>{self.log}; echo >>{self.log}\n'
                       f'exec -a qemu-img {self.tool} "$@"\n')
        os.chmod(self.home + "/bin/qemu-img", 0o755)
        for name, contents in INPUTS.items():
            mode = "wb" if isinstance(contents, bytes) else "w"
            with open(f"{self.home}/{name}", mode) as file:
                file.write(contents)
        if os.geteuid() == 0:  # root's libvirtd would be the system's
            sh("chown", "-R", "65534:65534", self.home)
        self.environment = os.environ | {
            "PATH": f"{self.home}/bin:{os.environ['PATH']}", "HOME": self.home, "LC_ALL": "C",
            "XDG_RUNTIME_DIR": self.home + "/run", "XDG_CONFIG_HOME": self.home + "/config",
            "XDG_CACHE_HOME": self.home + "/cache", "XDG_DATA_HOME": self.home + "/share",
        }
        with open(self.home + "/daemon.log", "w") as log:
            self.process = subprocess.Popen([LIBVIRTD], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.as_user())
        cleanup.callback(self.end)
        wait_until(self.answers, "libvirtd answers: " + self.home, timeout=60)

    def as_user(self):
        return {"cwd": self.home, "env": self.environment, "preexec_fn": as_nobody if os.geteuid() == 0 else None}

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def answers(self):
        with open(self.home + "/daemon.log") as log:
            assert self.process.poll() is None, "libvirtd ended: " + log.read()
        return self.virsh("uri")[0] == 0

    def virsh(self, line):
        """Exit code and all that was printed."""
        words = ["virsh", "-c", "storage:///session", *shlex.split(line)]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, **self.as_user())
        return done.returncode, self.comparable(text_of(done.stdout)), self.comparable(text_of(done.stderr))

    def comparable(self, text):
        """Without this daemon's folder, times, and allocated blocks (see `play`)."""
        text = re.sub(r"(?s)<timestamps>.*?</timestamps>", "", text.replace(self.home, "HOME"))
        return re.sub(r"(<allocation unit='bytes'>|Allocation: +)[0-9.]+( [KM]iB)?", r"\1<some>", text)

    def commands(self):
        """What qemu-img was asked for since the last call."""
        if not os.path.exists(self.log):
            return []
        with open(self.log) as file:
            lines = self.comparable(file.read()).splitlines()
        os.remove(self.log)
        return lines

    def play(self, lines):
        """What the lines print, which commands qemu-img gets, what becomes of the volumes, and their blocks."""
        pool = self.home + "/pool"
        os.mkdir(pool)
        if os.geteuid() == 0:
            os.chown(pool, 65534, 65534)
        with open(self.home + "/over.xml", "w") as file:
            file.write(INPUTS["over.xml"].replace("POOL", pool))
        try:
            assert self.virsh(f"pool-create-as p dir --target {pool}")[0] == 0
            self.commands()
            printed = [self.virsh(line) for line in lines]
            volumes = {name: self.facts(f"{pool}/{name}") for name in sorted(os.listdir(pool))}
            blocks = {name: os.stat(f"{pool}/{name}").st_blocks * 512 for name in volumes}
            return (printed, self.commands(), volumes), blocks
        finally:
            self.virsh("pool-destroy p")
            shutil.rmtree(pool)

    def facts(self, path):
        """What qemu-img finds in a volume, its contents, faults, and who may read it."""
        info = json.loads(sh(QEMU_IMG, "info", "--output=json", path, check=False) or "{}")
        info.pop("actual-size", None)
        raw = path + ".contents"
        readable = subprocess.run([QEMU_IMG, "convert", "-O", "raw", path, raw], capture_output=True).returncode == 0
        contents = digest_of(raw) if readable else digest_of(path)
        if readable:
            os.remove(raw)
        check = subprocess.run([QEMU_IMG, "check", path], capture_output=True)
        status = os.stat(path)
        about = json.loads(self.comparable(json.dumps(info)))
        return about, contents, check.returncode, oct(status.st_mode), status.st_uid


def scenario(daemons, name, lines, runs):
    def test(_):
        need(daemons)
        with ThreadPoolExecutor(len(daemons)) as pool:
            (ours, blocks), (theirs, their_blocks) = pool.map(lambda daemon: daemon.play(lines), daemons)
        for what, mine, other in zip(("virsh", "commands", "volumes"), ours, theirs):
            assert mine == other, f"{what}: {mine}, with qemu-img: {other}"
        # A few blocks of allocation granularity are no difference.
        assert all(blocks[name] <= their_blocks[name] + 64 * KIB for name in blocks), (blocks, their_blocks)
        printed, commands, _ = ours
        # None: libvirt or its qemu-img refuses a part, and both must do so alike.
        if runs is None:
            assert any(code != 0 for code, *_ in printed), printed
        else:
            assert all(code == 0 for code, *_ in printed), printed
            assert len(commands) == runs, commands

    test.__name__ = "test_" + name
    return test


def runs_platter(daemons):
    def test_runs_platter(_):
        """What libvirt finds under the name qemu-img is platter, on one side only."""
        need(daemons)
        mine, theirs = (sh(daemon.home + "/bin/qemu-img", "--version") for daemon in daemons)
        assert "platter" in mine and "platter" not in theirs, (mine, theirs)

    return test_runs_platter


def need(daemons):
    if not daemons:
        raise Skip("no libvirtd and virsh: packages libvirt-daemon, libvirt-clients")


def main():
    with Cleanup() as cleanup:
        installed = os.path.exists(LIBVIRTD) and shutil.which("virsh")
        daemons = [Daemon(cleanup, tool) for tool in (PLATTER, QEMU_IMG)] if installed else []
        return run_suite("libvirt", [runs_platter(daemons), *(scenario(daemons, *row) for row in SCENARIOS)])


if __name__ == "__main__":
    sys.exit(main())
