"""Debian's own kernel in qemu-system-x86_64, by software emulation: what the guest suites share.

The kernel's package is downloaded, taken apart (not installed) and kept in build/guest: the kernel itself, and an
initial filesystem with busybox and the modules for a virtio disk with ext4 on it.
"""

import fcntl
import lzma
import os
import re
import shutil
import subprocess
import time

from support import Skip, sh, text_of

_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
_cache = _root + "/build/guest"
BUSYBOX = "/bin/busybox"
QEMU = "/usr/bin/qemu-system-x86_64"
# crc32c_generic: what ext4 asks for by the name of the algorithm.
_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")

# Runs before the disk's own /sbin/init. Names of modules come in the order in which they need each other.
_INIT = """#!/busybox sh
/busybox mkdir -p /proc /dev /root
/busybox mount -t proc proc /proc
/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /busybox insmod "/modules/$module" || echo "no module $module"; done
/busybox mount -t ext4 /dev/vda /root && exec /busybox switch_root /root /sbin/init
echo "the disk can't be mounted"
/busybox poweroff -f
"""


def kernel():
    """Paths of the kernel and its initial filesystem; made by the first caller. Raises Skip where they can't be."""
    for tool, package in ((QEMU, "qemu-system-x86"), (BUSYBOX, "busybox-static"), ("/usr/bin/cpio", "cpio")):
        if not os.path.exists(tool):
            raise Skip(f"no {tool}: package {package}")
    os.makedirs(_cache, exist_ok=True)
    paths = _cache + "/vmlinux", _cache + "/initrd"
    with open(_cache + "/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(map(os.path.exists, paths)):
            _prepare(*paths)
    return paths


def _prepare(vmlinux, initrd):
    work = _cache + "/work"
    shutil.rmtree(work, ignore_errors=True)
    os.mkdir(work)
    depends = sh("apt-cache", "depends", "--no-recommends", "linux-image-amd64", check=False)
    package = re.search(r"Depends: (linux-image-\S+)", depends)
    if not package:
        raise Skip("apt knows no linux-image-amd64")
    words = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package[1]]
    done = subprocess.run(words, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
    if done.returncode != 0:
        raise Skip(f"can't download {package[1]}: {text_of(done.stderr)}")
    (archive,) = os.listdir(work)
    sh("dpkg", "-x", f"{work}/{archive}", work + "/package")
    (image,) = [name for name in os.listdir(work + "/package/boot") if name.startswith("vmlinuz-")]
    _unpack_kernel(f"{work}/package/boot/{image}", work + "/vmlinux")
    _make_initrd(work + "/package/lib/modules", work + "/initial", work + "/initrd")
    os.rename(work + "/vmlinux", vmlinux)
    os.rename(work + "/initrd", initrd)
    shutil.rmtree(work)


def _unpack_kernel(packed, path):
    """The kernel as an ELF file: unpacking it under emulation would take seconds of every boot."""
    with open(packed, "rb") as file:
        data = file.read()
    elf = lzma.LZMADecompressor().decompress(data[data.index(b"\xfd7zXZ\0"):])
    assert elf.startswith(b"\x7fELF"), "the kernel is packed in an unknown way"
    with open(path, "wb") as file:
        file.write(elf)


def _make_initrd(modules, folder, path):
    files = {}
    for place, _, names in os.walk(modules):
        files |= {name.removesuffix(".ko").replace("-", "_"): f"{place}/{name}" for name in names if name.endswith(".ko")}
    order = []

    def add(name):
        # What is not there is built into the kernel.
        if name in order or name not in files:
            return
        with open(files[name], "rb") as file:
            needs = re.search(rb"\0depends=([^\0]*)\0", file.read())
        for need in (needs[1].decode() if needs else "").split(","):
            add(need.replace("-", "_"))
        order.append(name)

    for name in _MODULES:
        add(name)
    os.makedirs(folder + "/modules")
    for name in order:
        shutil.copy(files[name], f"{folder}/modules/{name}")
    shutil.copy(BUSYBOX, folder + "/busybox")
    with open(folder + "/init", "w") as file:
        file.write(_INIT.format(modules=" ".join(order)))
    os.chmod(folder + "/init", 0o755)
    with open(path, "wb") as file:
        subprocess.run("find . | cpio --quiet -o -H newc", shell=True, cwd=folder, stdout=file, check=True)


def boot(cleanup, disk, *drive_options, timeout=300):
    """Boots from the qcow2 image `disk` until the guest turns itself off. Returns what it said on its console."""
    vmlinux, initrd = kernel()
    console = cleanup.folder() + "/console"
    drive = ",".join([f"if=none,id=disk,file={disk},format=qcow2", *drive_options])
    words = [
        QEMU, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none", "-M", "q35,usb=off",
        "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "256", "-kernel", vmlinux, "-initrd", initrd,
        "-append", "console=ttyS0 quiet panic=-1 oops=panic mitigations=off nokaslr cryptomgr.notests nowatchdog",
        "-drive", drive, "-device", "virtio-blk-pci,drive=disk", "-serial", "file:" + console,
    ]
    process = cleanup.process(subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    start = time.monotonic()
    try:
        output, _ = process.communicate(timeout=timeout)
        late = ""
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        late = f"after {time.monotonic() - start:.0f} s "
    said = ""
    if os.path.exists(console):
        with open(console, encoding="utf-8", errors="replace") as file:
            said = file.read().replace("\r", "")
    assert not late and process.returncode == 0, f"{late}exit {process.returncode}: {text_of(output)} {said}"
    return said
