"""Images that are broken in one known way each: a good one made by qemu-img, then bytes changed."""

import struct
import subprocess

from support import KIB, MIB, QEMU_IMG, QEMU_IO

COPIED = 1 << 63
COMPRESSED = 1 << 62
OFFSETS = 0x00FFFFFFFFFFFE00
TABLE_OFFSETS = 0xFFFFFFFFFFFFFE00


def run(argv, folder):
    done = subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    if done.returncode != 0:
        raise AssertionError(f"{argv}: {done.stderr.decode(errors='replace')}")


# Name -> options, size, what qemu-io does, what qemu-img does then.
BASES = {
    "plain": ("", "8M", ["write 0 1M", "write 4M 128k"], []),
    "snapshots": ("", "8M", ["write 0 512k"], ["snapshot -c one", "snapshot -c two"]),
    "compressed": ("", "8M", ["write -c 0 64k", "write -c 128k 64k", "write 1M 64k"], []),
    "zeroes": ("", "8M", ["write 0 512k", "write -z 0 256k", "write -z 1M 128k"], []),
    "small": ("cluster_size=512", "512k", ["write 0 64k", "write 128k 64k"], ["snapshot -c one"]),
    "one_bit": ("refcount_bits=1", "4M", ["write 0 512k"], []),
    "four_bits": ("refcount_bits=4,cluster_size=4k", "4M", ["write 0 512k"], ["snapshot -c one"]),
    "wide": ("refcount_bits=64,cluster_size=4k", "8M", ["write 0 3M"], ["snapshot -c one"]),
    "extended": ("extended_l2=on", "8M", ["write 0 100k", "write -z 512k 70k", "write -c 1M 64k"], []),
    "data_file": ("data_file=data.raw", "8M", ["write 0 1M"], []),
    "bitmaps": ("", "8M", ["write 0 256k"], ["bitmap --add a.qcow2 one", "bitmap --add a.qcow2 two"]),
    "old": ("compat=0.10", "8M", ["write 0 512k"], ["snapshot -c one"]),
    "lazy": ("lazy_refcounts=on", "8M", ["write 0 512k"], []),
    "large": ("cluster_size=2M", "64M", ["write 0 8M"], []),
}


def make_base(folder, base):
    """Leaves a.qcow2 in the folder."""
    options, size, writes, commands = BASES[base]
    words = [QEMU_IMG, "create", "-q", "-f", "qcow2"] + (["-o", options] if options else [])
    run(words + ["a.qcow2", size], folder)
    argv = [QEMU_IO]
    for write in writes:
        argv += ["-c", write]
    run(argv + ["a.qcow2"], folder)
    for command in commands:
        words = command.split()
        if "a.qcow2" not in words:
            words.append("a.qcow2")
        run([QEMU_IMG, *words], folder)


class Image:
    """An image's bytes with its tables at hand. Numbers are host order, offsets bytes."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = bytearray(file.read())
        self.cluster_bits = self.u32(20)
        self.cluster = 1 << self.cluster_bits
        self.version = self.u32(4)
        self.l1_size, self.l1_offset = self.u32(36), self.u64(40)
        self.table_offset, self.table_clusters = self.u64(48), self.u32(56)
        self.snapshot_count, self.snapshots_offset = self.u32(60), self.u64(64)
        self.order = self.u32(96) if self.version >= 3 else 4
        self.extended = self.version >= 3 and bool(self.u64(72) & 16)
        self.stride = 16 if self.extended else 8

    def save(self, path):
        with open(path, "wb") as file:
            file.write(self.data)

    def u16(self, at):
        return struct.unpack_from(">H", self.data, at)[0]

    def u32(self, at):
        return struct.unpack_from(">I", self.data, at)[0]

    def u64(self, at):
        return struct.unpack_from(">Q", self.data, at)[0]

    def put(self, at, form, value):
        end = at + struct.calcsize(form)
        if end > len(self.data):
            self.data.extend(bytes(end - len(self.data)))
        struct.pack_into(form, self.data, at, value)

    def put32(self, at, value):
        self.put(at, ">I", value)

    def put64(self, at, value):
        self.put(at, ">Q", value)

    def l1(self, index=0):
        return self.u64(self.l1_offset + 8 * index)

    def set_l1(self, value, index=0):
        self.put64(self.l1_offset + 8 * index, value)

    def l2_at(self, index, table=0):
        return (self.l1(table) & OFFSETS) + self.stride * index

    def l2(self, index):
        return self.u64(self.l2_at(index))

    def set_l2(self, index, value):
        self.put64(self.l2_at(index), value)

    def change_l2(self, index, change):
        self.set_l2(index, change(self.l2(index)))

    def set_bitmap(self, index, value):
        self.put64(self.l2_at(index) + 8, value)

    def block(self, index=0):
        return self.u64(self.table_offset + 8 * index) & TABLE_OFFSETS

    def set_block(self, value, index=0):
        self.put64(self.table_offset + 8 * index, value)

    def per_block(self):
        return self.cluster * 8 >> self.order

    def refcount(self, cluster):
        bits = 1 << self.order
        at = cluster % self.per_block() * bits
        block = self.block(cluster // self.per_block())
        if bits < 8:
            return self.data[block + at // 8] >> at % 8 & (1 << bits) - 1
        return int.from_bytes(self.data[block + at // 8:block + (at + bits) // 8], "big")

    def set_refcount(self, cluster, value):
        bits = 1 << self.order
        at = cluster % self.per_block() * bits
        block = self.block(cluster // self.per_block())
        if bits < 8:
            mask = (1 << bits) - 1 << at % 8
            self.data[block + at // 8] = self.data[block + at // 8] & ~mask | value << at % 8
        else:
            self.data[block + at // 8:block + (at + bits) // 8] = value.to_bytes(bits // 8, "big")

    def clusters(self):
        return (len(self.data) + self.cluster - 1) // self.cluster

    def data_cluster(self, index=0):
        return (self.l2(index) & OFFSETS) >> self.cluster_bits

    def snapshot_at(self, number=0):
        at = self.snapshots_offset
        for _ in range(number):
            at += 40 + self.u32(at + 36) + self.u16(at + 12) + self.u16(at + 14)
            at = (at + 7) // 8 * 8
        return at

    def extension(self, kind):
        """Where an extension's data begins."""
        at = self.u32(100)
        while self.u32(at) != kind:
            if self.u32(at) == 0:
                raise AssertionError("no such extension")
            at += 8 + (self.u32(at + 4) + 7) // 8 * 8
        return at + 8


def leak(cluster_past_end):
    def breakage(image):
        cluster = image.clusters() + cluster_past_end
        image.set_refcount(cluster, 1)
        image.data.extend(bytes((cluster + 1) * image.cluster - len(image.data)))
    return breakage


def both(*breakages):
    def breakage(image):
        for each in breakages:
            each(image)
    return breakage


def refcount_of_data(value, index=0):
    return lambda image: image.set_refcount(image.data_cluster(index), value)


def l2_xor(index, bits):
    return lambda image: image.change_l2(index, lambda entry: entry ^ bits)


def truncate(to):
    def breakage(image):
        del image.data[to(image):]
    return breakage


def snapshot_field(offset, form, value, number=0):
    return lambda image: image.put(image.snapshot_at(number) + offset, form, value)


def overlap(target):
    """The first data cluster's entry points at something else."""
    return lambda image: image.set_l2(0, target(image) | COPIED)


def incomplete_extra(image):
    """A version 3 snapshot without extra data."""
    at = image.snapshot_at()
    extra, strings = image.u32(at + 36), image.u16(at + 12) + image.u16(at + 14)
    tail = bytes(image.data[at + 40 + extra:at + 40 + extra + strings])
    image.put32(at + 36, 0)
    image.data[at + 40:at + 40 + strings] = tail
    image.put32(60, 1)


# Name -> base, breakage.
BREAKAGES = {f"sound/{base}": (base, lambda image: None) for base in BASES}
BREAKAGES |= {f"leak/{base}": (base, leak(3)) for base in BASES}
BREAKAGES |= {
    f"refcount_0/{base}": (base, refcount_of_data(0)) for base in BASES if base != "data_file"
}
BREAKAGES |= {
    f"refcount_of_header_0/{base}": (base, lambda image: image.set_refcount(0, 0))
    for base in ("plain", "small", "one_bit", "four_bits", "wide")
}
BREAKAGES |= {
    "refcount/2_not_1": ("plain", refcount_of_data(2)),
    "refcount/1_not_3": ("snapshots", refcount_of_data(1)),
    "refcount/2_not_3": ("snapshots", refcount_of_data(2)),
    "refcount/7_not_3": ("snapshots", refcount_of_data(7)),
    "refcount/max": ("plain", refcount_of_data(65535)),
    "refcount/wide_max": ("wide", refcount_of_data((1 << 64) - 1)),
    "refcount/of_l1": ("plain", lambda image: image.set_refcount(image.l1_offset >> 16, 2)),
    "refcount/of_l2_0": ("plain", lambda image: image.set_refcount((image.l1() & OFFSETS) >> 16, 0)),
    "refcount/of_l2_2": ("plain", lambda image: image.set_refcount((image.l1() & OFFSETS) >> 16, 2)),
    "refcount/of_table_0": ("plain", lambda image: image.set_refcount(1, 0)),
    "refcount/of_block_0": ("plain", lambda image: image.set_refcount(2, 0)),
    "refcount/of_compressed_0": ("compressed", lambda image: image.set_refcount(
        (image.l2(0) & 0x3FFFFFFFFFFFFF) >> 16, 0)),
    "refcount/of_compressed_9": ("compressed", lambda image: image.set_refcount(
        (image.l2(0) & 0x3FFFFFFFFFFFFF) >> 16, 9)),
    "refcount/of_snapshot_table_0": ("snapshots", lambda image: image.set_refcount(
        image.snapshots_offset >> 16, 0)),
    "refcount/leak_and_error": ("plain", both(leak(2), refcount_of_data(0, 3))),
    "refcount/many_leaks": ("plain", both(*[leak(0) for _ in range(40)])),
    "refcount/all_zero": ("plain", lambda image: image.data.__setitem__(
        slice(image.block(), image.block() + image.cluster), bytes(image.cluster))),
    "refcount/all_ones": ("plain", lambda image: image.data.__setitem__(
        slice(image.block(), image.block() + image.cluster), b"\xff" * image.cluster)),
    "table/destroyed": ("plain", lambda image: image.data.__setitem__(
        slice(image.table_offset, image.table_offset + image.cluster), bytes(image.cluster))),
    "table/destroyed_small": ("small", lambda image: image.data.__setitem__(
        slice(image.table_offset, image.table_offset + image.cluster), bytes(image.cluster))),
    "table/destroyed_wide": ("wide", lambda image: image.data.__setitem__(
        slice(image.table_offset, image.table_offset + image.cluster), bytes(image.cluster))),
    "table/no_clusters": ("plain", lambda image: image.put32(56, 0)),
    "table/past_end": ("plain", lambda image: image.put64(48, 1 << 40)),
    "table/reserved_bits": ("plain", lambda image: image.set_block(image.block() | 5)),
    "table/block_unaligned": ("plain", lambda image: image.set_block(image.block() + 512)),
    "table/second_block_unaligned": ("plain", lambda image: image.set_block(image.block() + 512, 1)),
    "table/block_outside": ("plain", lambda image: image.set_block(1 << 30, 1)),
    "table/first_block_outside": ("plain", lambda image: image.set_block(1 << 30)),
    "table/block_twice": ("plain", lambda image: image.set_block(image.block(), 1)),
    "table/block_is_data": ("plain", lambda image: image.set_block(image.l2(0) & OFFSETS, 1)),
    "table/block_is_l1": ("plain", lambda image: image.set_block(image.l1_offset)),
    "l1/reserved_bits": ("plain", lambda image: image.set_l1(image.l1() | 3 << 56)),
    "l1/unaligned": ("plain", lambda image: image.set_l1(image.l1() + 512)),
    "l1/past_end": ("plain", lambda image: image.set_l1(1 << 40 | COPIED)),
    "l1/flags_alone": ("plain", lambda image: image.set_l1(COPIED)),
    "l1/zero": ("plain", lambda image: image.set_l1(0)),
    "l1/not_copied": ("plain", lambda image: image.set_l1(image.l1() & ~COPIED)),
    "l1/copied_in_snapshot_image": ("snapshots", lambda image: image.set_l1(image.l1() | COPIED)),
    "l1/twice": ("small", lambda image: image.set_l1(image.l1(), 1)),
    "l1/twice_over_snapshot": ("four_bits", lambda image: image.set_l1(image.l1(), 1)),
    "l1/is_the_header": ("plain", lambda image: image.set_l1(0x1)),
    "l2/not_copied": ("plain", l2_xor(2, COPIED)),
    "l2/copied_with_3": ("snapshots", l2_xor(2, COPIED)),
    "l2/reserved_bits": ("plain", l2_xor(2, 1 << 56)),
    "l2/reserved_low_bits": ("plain", l2_xor(2, 6)),
    "l2/zero_flag": ("plain", l2_xor(2, 1)),
    "l2/zero_flag_old": ("old", l2_xor(2, 1)),
    "l2/unaligned": ("plain", l2_xor(2, 512)),
    "l2/unaligned_last": ("plain", l2_xor(65, 512)),
    "l2/unaligned_zero": ("zeroes", l2_xor(1, 512)),
    "l2/unaligned_zeroes": ("zeroes", both(l2_xor(0, 512), l2_xor(1, 1024), l2_xor(2, 512))),
    "l2/unaligned_in_snapshot": ("snapshots", l2_xor(1, 512)),
    "l2/unaligned_zero_in_snapshot": ("snapshots", l2_xor(1, 513)),
    "l2/past_end": ("plain", lambda image: image.set_l2(3, 1 << 40 | COPIED)),
    "l2/one_past_end": ("plain", lambda image: image.set_l2(3, len(image.data) | COPIED)),
    "l2/two_past_end": ("plain", lambda image: image.set_l2(3, len(image.data) + 65536 | COPIED)),
    "l2/past_end_in_snapshot": ("snapshots", lambda image: image.set_l2(3, 1 << 40)),
    "l2/lost": ("plain", lambda image: image.set_l2(3, 0)),
    "l2/same_twice": ("plain", lambda image: image.set_l2(3, image.l2(2))),
    "l2/same_everywhere": ("small", lambda image: [image.set_l2(i, image.l2(2)) for i in range(20)]),
    "l2/is_header": ("plain", overlap(lambda image: 0)),
    "l2/is_l1": ("plain", overlap(lambda image: image.l1_offset)),
    "l2/is_l2": ("plain", overlap(lambda image: image.l1() & OFFSETS)),
    "l2/is_refcount_table": ("plain", overlap(lambda image: image.table_offset)),
    "l2/is_refcount_block": ("plain", overlap(lambda image: image.block())),
    "l2/is_snapshot_l1": ("snapshots", overlap(lambda image: image.u64(image.snapshot_at()))),
    "l2/garbage": ("plain", lambda image: [image.set_l2(i, 0x0123456789ABCDEF * (i + 1) & (1 << 64) - 1)
                                           for i in range(0, 64, 3)]),
    "overflow/one_bit": ("one_bit", lambda image: image.set_l2(3, image.l2(2))),
    "overflow/one_bit_l2": ("one_bit", lambda image: [image.set_l2(i, image.l2(2)) for i in range(9)]),
    "overflow/four_bits": ("four_bits", lambda image: [image.set_l2(i, image.l2(2)) for i in range(12)]),
    "compressed/copied": ("compressed", l2_xor(0, COPIED)),
    "compressed/past_end": ("compressed", lambda image: image.set_l2(0, COMPRESSED | 1 << 40)),
    "compressed/many_sectors": ("compressed", lambda image: image.set_l2(0, image.l2(0) | 0xFF << 54)),
    "compressed/shared": ("compressed", lambda image: image.set_l2(5, image.l2(0))),
    "compressed/data_file": ("data_file", lambda image: image.set_l2(2, COMPRESSED | 0x50000)),
    "extended/both_bits": ("extended", lambda image: image.set_bitmap(0, 1 << 32 | 1)),
    "extended/allocated_without_place": ("extended", lambda image: image.set_bitmap(40, 7)),
    "extended/zero_without_place": ("extended", lambda image: image.set_bitmap(40, 7 << 32)),
    "extended/compressed_bitmap": ("extended", lambda image: image.set_bitmap(16, 1)),
    "extended/unaligned_data": ("extended", l2_xor(0, 512)),
    "extended/unaligned_zeroes": ("extended", both(
        l2_xor(0, 512), lambda image: image.set_bitmap(0, 0xF << 32))),
    "extended/unaligned_nothing": ("extended", both(l2_xor(0, 512), lambda image: image.set_bitmap(0, 0))),
    "extended/zero_flag": ("extended", l2_xor(0, 1)),
    "data_file/not_copied": ("data_file", l2_xor(2, COPIED)),
    "data_file/unaligned": ("data_file", l2_xor(2, 512)),
    "data_file/first_lost": ("data_file", lambda image: image.set_l2(0, 0)),
    "data_file/snapshots": ("data_file", lambda image: (
        image.data.extend(bytes(-len(image.data) % 65536)), image.put32(60, 1),
        image.put64(64, len(image.data)), image.put64(len(image.data) + 64, 0))),
    "snapshot/l1_unaligned": ("snapshots", snapshot_field(0, ">Q", 0x10200)),
    "snapshot/l1_too_large": ("snapshots", snapshot_field(8, ">I", (32 << 17) + 1)),
    "snapshot/l1_empty": ("snapshots", snapshot_field(8, ">I", 0)),
    "snapshot/l1_past_end": ("snapshots", snapshot_field(0, ">Q", 1 << 40)),
    "snapshot/l1_ends_past_end": ("snapshots", snapshot_field(8, ">I", 1 << 17, number=1)),
    "snapshot/same_l1": ("snapshots", lambda image: image.put64(
        image.snapshot_at(1), image.u64(image.snapshot_at(0)))),
    "snapshot/l1_is_active": ("snapshots", lambda image: image.put64(image.snapshot_at(), image.l1_offset)),
    "snapshot/lost": ("snapshots", lambda image: image.put32(60, 1)),
    "snapshot/all_lost": ("snapshots", lambda image: image.put32(60, 0)),
    "snapshot/too_many": ("snapshots", lambda image: image.put32(60, 65537)),
    "snapshot/table_past_end": ("snapshots", lambda image: image.put64(64, 1 << 40)),
    "snapshot/table_unaligned": ("snapshots", lambda image: image.put64(64, image.snapshots_offset + 8)),
    "snapshot/extra_too_large": ("snapshots", snapshot_field(36, ">I", 1025)),
    "snapshot/extra_huge": ("snapshots", snapshot_field(36, ">I", 0xFFFFFFF0)),
    "snapshot/extra_missing": ("snapshots", incomplete_extra),
    "snapshot/old_extra_missing": ("old", incomplete_extra),
    "snapshot/l1_entry_reserved": ("snapshots", lambda image: image.put64(
        image.u64(image.snapshot_at()), image.u64(image.u64(image.snapshot_at())) | 2)),
    "snapshot/l1_entry_past_end": ("snapshots", lambda image: image.put64(
        image.u64(image.snapshot_at()), 1 << 40)),
    "bitmaps/autoclear": ("bitmaps", lambda image: image.put64(88, 0)),
    "bitmaps/directory_refcount_0": ("bitmaps", lambda image: image.set_refcount(
        image.u64(image.extension(0x23852875) + 16) >> 16, 0)),
    "bitmaps/table_refcount_2": ("bitmaps", lambda image: image.set_refcount(
        image.u64(image.u64(image.extension(0x23852875) + 16)) >> 16, 2)),
    "flags/dirty": ("lazy", lambda image: image.put64(72, 1)),
    "flags/corrupt": ("plain", lambda image: image.put64(72, 2)),
    "flags/dirty_and_stale": ("lazy", both(lambda image: image.put64(72, 1), refcount_of_data(0))),
    "flags/dirty_all_zero": ("lazy", both(lambda image: image.put64(72, 1), lambda image: image.data.__setitem__(
        slice(image.block(), image.block() + image.cluster), bytes(image.cluster)))),
    "flags/corrupt_and_leaks": ("plain", both(lambda image: image.put64(72, 2), leak(1))),
    "flags/unknown_autoclear": ("plain", lambda image: image.put64(88, 1 << 40)),
    "file/cut_in_data": ("plain", truncate(lambda image: len(image.data) - 200 * KIB)),
    "file/cut_in_cluster": ("plain", truncate(lambda image: len(image.data) - 1000)),
    "file/cut_after_l1": ("plain", truncate(lambda image: 0x40000)),
    "file/cut_in_l1": ("plain", truncate(lambda image: 0x30004)),
    "file/header_alone": ("plain", truncate(lambda image: 0x10000)),
    "file/longer": ("plain", lambda image: image.data.extend(bytes(3 * MIB))),
    "file/odd_size": ("plain", lambda image: image.data.extend(b"x" * 777)),
}
