#!/usr/bin/env python3
"""The same disks by Nova's own code and by platter: same names, files, sizes, backing files, disk.info, contents;
each works on with what the other made."""

import hashlib
import json
import os
import subprocess
import sys

from support import GIB, MIB, QEMU_IMG, Skip, check_fails, check_ok, contents, names_in, run, run_suite, sh, write_layout

UUID = "0b4f1e52-3a9c-4d6e-8f00-123456789abc"
IMAGE_ID = "5d3c6a0e-1f2b-4c3d-9e8f-aabbccddeeff"
BASE = hashlib.sha1(IMAGE_ID.encode()).hexdigest()

# Runs in a process of its own: Nova replaces parts of Python, and takes seconds to start. Standard input: a list of
# jobs. For each it prints the disk's format, or the name of Nova's exception.
NOVA = r"""
import json, os, shutil, sys
import nova.conf
from nova import config
from nova.privsep import sys_admin_pctxt
from nova.virt import images
from nova.virt.libvirt import imagebackend
from oslo_concurrency import lockutils
from oslo_utils import fileutils

UUID, BASE = sys.argv[1:]
CONF = nova.conf.CONF
config.parse_args(['nova'], default_config_files=[], configure_db=False, init_rpc=False)
sys_admin_pctxt.set_client_mode(False)


class Instance(dict):
    uuid = name = UUID


def do(job):
    CONF.set_override('instances_path', job['instances'])
    CONF.set_override('force_raw_images', job['force_raw'])
    lockutils.set_defaults(os.path.join(job['instances'], 'locks'))

    def fetch(target, *args, **kwargs):
        # What images.fetch_to_raw does, without the image service.
        part = target + '.part'
        shutil.copyfile(job['image'], part)
        if job['image'].endswith('qcow2') and CONF.force_raw_images:
            images.convert_image(part, target + '.converted', 'qcow2', 'raw')
            os.unlink(part)
            part = target + '.converted'
        os.rename(part, target)

    fileutils.ensure_tree(os.path.join(job['instances'], UUID))
    backend = getattr(imagebackend, job['kind'])(Instance(), job['disk'])
    if job['extract']:
        backend.snapshot_extract(job['extract'], 'raw')
    else:
        backend.cache(fetch_func=fetch, context=None, filename=BASE, size=job['size'] or None, image_id='x')
    return backend.resolve_driver_format()


for job in json.load(sys.stdin):
    try:
        print(do(job), flush=True)
    except Exception as why:
        print(type(why).__name__, why, flush=True)
"""


def need_nova():
    done = subprocess.run(["/usr/bin/python3", "-c", "import nova.virt.libvirt.imagebackend"], capture_output=True, check=False)
    if done.returncode != 0:
        raise Skip("Debian's python3-nova is not installed, or does not work here: " + done.stderr.decode()[-200:])


def job(instances, kind, disk, image, size=0, force_raw=True, extract=None):
    return {"instances": instances, "kind": kind, "disk": disk, "image": image, "size": size, "force_raw": force_raw,
            "extract": extract}


def by_nova(*jobs):
    """A line for each job."""
    done = subprocess.run(["/usr/bin/python3", "-c", NOVA, UUID, BASE], input=json.dumps(jobs).encode(), capture_output=True,
                          timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    lines = done.stdout.decode().splitlines()
    assert len(lines) == len(jobs), lines
    return lines


def by_platter(instances, kind, disk, image, size=0, force_raw=True):
    config = instances + ".toml"
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"force_raw = {str(force_raw).lower()}\n")
    words = ["provision", "--config", config, "--backend", kind.lower(), "--instances", instances, "--instance", UUID,
             "--disk", disk, "--base", image, "--image-id", IMAGE_ID, "--output=json"]
    return json.loads(check_ok(run(*words, *(["--size", size] if size else []))).out)


def description(instances):
    """All that can be told of a folder of instances, without its own path."""
    told = {}
    for folder, _, files in os.walk(instances):
        for name in files:
            path = os.path.join(folder, name)
            short = os.path.relpath(path, instances)
            if short.startswith("locks/") or name == "disk.info":
                told[short] = contents(path).decode().replace(instances, "") if name == "disk.info" else "lock"
                continue
            info = json.loads(sh(QEMU_IMG, "info", "--output=json", path))
            told[short] = (os.stat(path).st_mode, info["format"], info["virtual-size"], info.get("cluster-size"),
                           info.get("backing-filename", "").replace(instances, ""), info.get("backing-filename-format"),
                           os.path.getsize(path) if info["format"] == "raw" else None)
    return told


class Images:
    def __init__(self, cleanup):
        need_nova()
        self.folder = cleanup.folder()
        self.raw = write_layout(os.path.join(self.folder, "image.raw"), "4M 64K+64K 3M+1M=2")
        self.qcow2 = os.path.join(self.folder, "image.qcow2")
        sh(QEMU_IMG, "convert", "-O", "qcow2", "-o", "cluster_size=128K", self.raw, self.qcow2)

    def instances(self, name):
        path = os.path.join(self.folder, name)
        os.mkdir(path)
        return path


def test_both_make_the_same(cleanup):
    images = Images(cleanup)
    cases = [(kind, image, size, force_raw) for kind in ["Qcow2", "Flat"] for image in [images.raw, images.qcow2]
             for size in [0, 4 * MIB, GIB] for force_raw in [True, False]]
    folders = [images.instances(f"nova{number}") for number in range(len(cases))]
    formats = by_nova(*[job(folder, case[0], "disk", *case[1:]) for folder, case in zip(folders, cases)])
    for number, (case, theirs, theirs_format) in enumerate(zip(cases, folders, formats)):
        ours = images.instances(f"platter{number}")
        told = by_platter(ours, case[0], "disk", *case[1:])
        assert told["format"] == theirs_format, (case, told, theirs_format)
        assert description(ours) == description(theirs), (case, description(ours), description(theirs))
        sh(QEMU_IMG, "compare", "-f", told["format"], "-F", theirs_format, os.path.join(ours, UUID, "disk"),
           os.path.join(theirs, UUID, "disk"))


def test_platter_goes_on_with_what_nova_made(cleanup):
    images = Images(cleanup)
    folders = {kind: images.instances("nova" + kind) for kind in ["Qcow2", "Flat"]}
    by_nova(*[job(folder, kind, "disk", images.qcow2, 8 * MIB) for kind, folder in folders.items()])
    for kind, folder in folders.items():
        before = description(folder)
        told = by_platter(folder, kind, "disk", images.qcow2, 8 * MIB)
        assert not (told["created"] or told["grown"] or told["base-fetched"]), told
        assert description(folder) == before, (before, description(folder))
        assert by_platter(folder, kind, "second", images.qcow2, 8 * MIB)["base-fetched"] is False
        assert by_platter(folder, kind, "disk", images.qcow2, 16 * MIB)["grown"]
        target = os.path.join(images.folder, "out" + kind)
        words = ["--backend", kind.lower(), "--instances", folder, "--instance", UUID, "--disk", "disk"]
        check_ok(run("extract", *words, target))
        assert contents(target)[: 4 * MIB] == contents(images.raw) and os.path.getsize(target) == 16 * MIB
        check_ok(run("deprovision", *words))


def test_nova_goes_on_with_what_platter_made(cleanup):
    images = Images(cleanup)
    for kind in ["Qcow2", "Flat"]:
        folder = images.instances("platter" + kind)
        form = by_platter(folder, kind, "disk", images.qcow2, 8 * MIB)["format"]
        before = description(folder)
        assert by_nova(job(folder, kind, "disk", images.qcow2, 8 * MIB)) == [form]
        assert description(folder) == before, (before, description(folder))
        target = os.path.join(images.folder, "out" + kind)
        told = by_nova(job(folder, kind, "second", images.qcow2, 8 * MIB),
                       job(folder, kind, "disk", images.qcow2, extract=target))
        assert told == [form, form], told
        assert len(names_in(os.path.join(folder, "_base"))) == 1
        assert contents(target)[: 4 * MIB] == contents(images.raw)


def test_both_refuse_a_disk_below_its_base(cleanup):
    images = Images(cleanup)
    told = by_nova(*[job(images.instances("nova" + kind), kind, "disk", images.raw, MIB) for kind in ["Qcow2", "Flat"]])
    assert all(line.startswith("FlavorDiskSmallerThanImage") for line in told), told
    for kind in ["Qcow2", "Flat"]:
        folder = images.instances("platter" + kind)
        check_fails(run("provision", "--backend", kind.lower(), "--instances", folder, "--instance", UUID, "--disk", "disk",
                        "--base", images.raw, "--size", MIB), str(4 * MIB))


if __name__ == "__main__":
    sys.exit(run_suite("nova", [value for name, value in list(globals().items()) if name.startswith("test_")]))
