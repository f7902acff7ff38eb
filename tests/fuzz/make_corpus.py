#!/usr/bin/env python3
"""Makes the corpora of the targets that change qcow2 images: tiny images by QEMU's tools, and steps.

Each input is an image and behind it eight steps of four bytes: see qcow2_changes.h.
"""

import os
import subprocess
import tempfile

CORPUS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "corpus")
# Options, size, requests of qemu-io, commands of qemu-img.
IMAGES = {
    "plain": ("cluster_size=512", "64k", ["write 0 3k", "write -z 8k 2k", "write 40k 512"], []),
    "version2": ("cluster_size=512,compat=0.10", "64k", ["write 1k 3k"], ["snapshot -c a"]),
    "compressed": ("cluster_size=512", "64k", ["write -c 0 512", "write -c 512 512", "write -c 33k 512"], []),
    "zstd": ("cluster_size=512,compression_type=zstd", "64k", ["write -c 0 512", "write 2k 1k"], []),
    "one_bit": ("cluster_size=512,refcount_bits=1", "64k", ["write 0 2k"], []),
    "wide_counts": ("cluster_size=512,refcount_bits=64", "40k", ["write 0 2k"], ["snapshot -c a"]),
    "subclusters": ("cluster_size=16k,extended_l2=on", "64k", ["write 1k 2k"], []),
    "data_file": ("cluster_size=512,data_file=data,data_file_raw=on", "16k", ["write 1k 2k"], []),
    "backed": ("cluster_size=512", "64k", ["write 1k 2k"], ["rebase -u -b b -F raw"]),
    "snapshots": ("cluster_size=512", "64k", ["write 0 2k"],
                  ["snapshot -c a", "snapshot -c b", "resize -q 80k", "snapshot -c c"]),
    "snapshot_compressed": ("cluster_size=512", "64k", ["write -c 0 512", "write 2k 1k"], ["snapshot -c a"]),
    "bitmaps": ("cluster_size=512", "1M", ["write 0 1k"],
                ["bitmap --add -g 512 {} a", "bitmap --add -g 64k --disable {} b"]),
    "bitmap_dirty": ("cluster_size=512", "64k", [], ["bitmap --add -g 512 {} a", "io write 3k 9k"]),
    "bitmap_snapshot": ("cluster_size=512", "64k", ["write 0 2k"],
                        ["snapshot -c s", "bitmap --add -g 4k {} a", "io write 4k 2k"]),
}
TARGETS = {
    "qcow2_write_fuzz": ["plain", "version2", "compressed", "zstd", "one_bit", "subclusters",
                         "data_file", "backed", "snapshot_compressed"],
    "qcow2_snapshot_fuzz": ["plain", "version2", "one_bit", "wide_counts", "snapshots",
                            "snapshot_compressed", "bitmap_snapshot"],
    "qcow2_bitmap_fuzz": ["plain", "bitmaps", "bitmap_dirty", "bitmap_snapshot"],
}
KINDS = {  # of the steps; 255 opens the image anew
    "qcow2_write_fuzz": [0, 2, 5, 255, 3, 4, 7, 1],
    "qcow2_snapshot_fuzz": [0, 1, 0, 3, 255, 2, 4, 0],
    "qcow2_bitmap_fuzz": [2, 0, 6, 255, 5, 4, 0, 3],
}


def run(*words, folder):
    subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def make_image(folder, options, size, requests, commands):
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "i", size, folder=folder)
    for request in requests:
        run("qemu-io", "-f", "qcow2", "-c", request, "i", folder=folder)
    for command in commands:
        if command.startswith("io "):
            run("qemu-io", "-f", "qcow2", "-c", command.removeprefix("io "), "i", folder=folder)
        elif "{}" in command:
            run("qemu-img", *command.format("i").split(), folder=folder)
        elif command.startswith("resize"):
            *words, new_size = command.split()
            run("qemu-img", *words, "i", new_size, folder=folder)
        else:
            run("qemu-img", *command.split(), "i", folder=folder)
    with open(os.path.join(folder, "i"), "rb") as file:
        return file.read()


def main():
    for target, names in TARGETS.items():
        os.makedirs(os.path.join(CORPUS, target), exist_ok=True)
        steps = b"".join(
            bytes([kind, index, 37 * index % 256, 20 + 9 * index])
            for index, kind in enumerate(KINDS[target])
        )
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                image = make_image(folder, *IMAGES[name])
            with open(os.path.join(CORPUS, target, name), "wb") as file:
                file.write(image + steps)


main()
