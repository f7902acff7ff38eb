"""What the integration suites share: the programs, files with a layout, devices, mounts, results.

A suite calls `run_suite(tests, prefix)` with functions named test_*; each raises Skip or AssertionError, or
returns. Everything made on the way is undone, last first, also when a test fails.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback

_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
PLATTER = os.environ.get("PLATTER", _root + "/build/asan/platter")
PLATTER_RELEASE = os.environ.get("PLATTER_RELEASE", _root + "/build/release/platter")
QEMU_IMG = "/usr/bin/qemu-img"
QEMU_IO = "/usr/bin/qemu-io"
TIMEOUT_S = 60
KIB, MIB, GIB, TIB, EIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40, 1 << 60


class Skip(Exception):
    """The machine can't do what the test needs."""


def run_suite(prefix, tests):
    """Prints a line for each test. Returns the exit status for the process."""
    wanted = sys.argv[1:]
    failed = False
    for test in tests:
        name = prefix + "." + test.__name__.removeprefix("test_")
        if wanted and not any(text in name for text in wanted):
            continue
        try:
            with Cleanup() as cleanup:
                test(cleanup)
            print("PASS", name, flush=True)
        except Skip as why:
            print("SKIP", name, why, flush=True)
        except Exception as why:  # noqa: BLE001  a suite goes on after any failure
            failed = True
            print("FAIL", name, one_line(why), flush=True)
            traceback.print_exc()
    return 1 if failed else 0


def one_line(why):
    return re.sub(r"\s+", " ", str(why) or type(why).__name__)[:600]


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


def size_of(text):
    """Bytes of '4K', '1M', '512'."""
    units = {"K": KIB, "M": MIB, "G": GIB, "T": TIB, "E": EIB}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


def pattern(offset, length, seed=1):
    """Bytes that differ from place to place, so that misplaced data shows; never zero."""
    step = 4096
    first = offset // step
    blocks = []
    for block in range(first, (offset + length - 1) // step + 1):
        digest = hashlib.sha256(struct.pack("<QQ", block, seed)).digest()
        blocks.append((digest * (step // len(digest))).replace(b"\0", b"\1"))
    start = offset - first * step
    return b"".join(blocks)[start : start + length]


def write_layout(path, layout):
    """Makes a file of 'SIZE [OFFSET+LENGTH[=SEED]]...': sparse but for the extents; seed 0: zeroes."""
    size, *extents = layout.split()
    with open(path, "wb") as file:
        file.truncate(size_of(size))
        for extent in extents:
            place, _, seed = extent.partition("=")
            offset, length = map(size_of, place.split("+"))
            file.seek(offset)
            for at in range(offset, offset + length, MIB):
                piece = min(MIB, offset + length - at)
                file.write(bytes(piece) if seed == "0" else pattern(at, piece, int(seed or 1)))
    return path


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def digest_of(path):
    """Of all bytes; holes are not read, so that huge sparse files are quick."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        at = 0
        while at < size:
            try:
                begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError as why:
                if why.errno == errno.ENXIO:
                    break
                raise
            at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            for offset in range(begin, at, MIB):
                piece = os.pread(file.fileno(), min(MIB, at - offset), offset)
                for block in range(0, len(piece), 4096):
                    bytes_ = piece[block : block + 4096]
                    if bytes_.strip(b"\0"):
                        digest.update(struct.pack("<Q", offset + block) + bytes_.rstrip(b"\0"))
        return size, digest.hexdigest()


def allocated(path):
    return os.stat(path).st_blocks * 512


class Run:
    """A finished command."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __str__(self):
        return f"exit {self.code}, stdout {self.out!r}, stderr {self.err!r}"


def run(*words, binary=None, timeout=TIMEOUT_S, **options):
    """Runs platter (or `binary`) to its end and returns a Run with text."""
    process = start(*words, binary=binary, **options)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"{words}: hangs: {text_of(out)} {text_of(err)}") from None
    return Run(process.returncode, text_of(out), text_of(err))


def start(*words, binary=None, **options):
    options = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    } | options
    return subprocess.Popen([binary or PLATTER, *map(os.fsencode, map(str, words))], **options)


def text_of(data):
    return (data or b"").decode("utf-8", "backslashreplace")


def sh(*words, check=True, **options):
    """A tool of the system that prepares something."""
    done = subprocess.run(
        [str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, **options
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}: {text_of(done.stderr)}")
    return text_of(done.stdout)


def check_ok(done, out=None):
    assert done.code == 0 and done.err == "", done
    if out is not None:
        assert done.out == out, done
    return done


def check_fails(done, *texts, code=1):
    """One line on standard error that holds all the texts."""
    assert done.code == code, done
    lines = done.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("platter: "), done
    for text in texts:
        assert text in lines[0], f"{text!r} is not in: {lines[0]!r}"
    return done


class Cleanup(contextlib.ExitStack):
    """Makes things and undoes them."""

    def folder(self, where=None):
        path = tempfile.mkdtemp(dir=where, prefix="it.")
        os.chmod(path, 0o755)
        self.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    def process(self, process):
        def end():
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()

        self.callback(end)
        return process

    def loop(self, file, sector=512, read_only=False):
        """A loop device over the file."""
        need_root()
        words = ["losetup", "--find", "--show", "--sector-size", sector]
        device = sh(*words, *(["--read-only"] if read_only else []), file).strip()
        self.callback(sh, "losetup", "--detach", device, check=False)
        return device

    def mount(self, *words):
        """Mounts `words` at a new folder and returns it."""
        need_root()
        place = self.folder()
        sh("mount", *words, place)
        self.callback(_unmount, place)
        return place

    def tmpfs(self, size):
        return self.mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs")

    def filesystem(self, kind, size, *mkfs_options, options="defaults"):
        """A fresh filesystem of that kind, in a sparse file. Returns its root folder."""
        need_root()
        if not shutil.which("mkfs." + kind):
            raise Skip(f"no mkfs.{kind}")
        image = self.folder() + "/fs"
        with open(image, "wb") as file:
            file.truncate(size)
        sh("mkfs." + kind, *mkfs_options, image)
        try:
            return self.mount("-t", kind, "-o", options, self.loop(image))
        except AssertionError as why:
            if "unknown filesystem" in str(why):
                raise Skip(f"the kernel has no {kind}") from None
            raise


def _unmount(place):
    for _ in range(50):
        if subprocess.run(["umount", place], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "--lazy", place], capture_output=True)


def names_in(folder):
    return sorted(os.listdir(folder))


def wait_until(condition, what, timeout=20):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.01)


def as_nobody():
    """For preexec_fn: an unprivileged user."""
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)


def _lock(kind, place):
    """struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid."""
    return struct.pack("hhxxxxqqixxxx", kind, os.SEEK_SET, place, 1, 0)


def is_locked(path, place):
    """True if someone holds an open-file-description lock on the byte."""
    with open(path, "rb") as file:
        found = fcntl.fcntl(file, 36, _lock(fcntl.F_WRLCK, place))  # F_OFD_GETLK
    return struct.unpack_from("h", found)[0] != fcntl.F_UNLCK


def lock_bytes(path, *places):
    """Takes open-file-description read locks on single bytes, as QEMU does. Returns the descriptor."""
    fd = os.open(path, os.O_RDWR)
    for place in places:
        fcntl.fcntl(fd, 37, _lock(fcntl.F_RDLCK, place))  # F_OFD_SETLK
    return fd
