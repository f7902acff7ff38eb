"""The persistent dirty bitmaps of a qcow2 image, read by the specification alone; and marked as a crash leaves them."""

import struct

AUTOCLEAR_BITMAPS = 1
EXTENSION = 0x23852875


def _extension(header):
    at, = struct.unpack_from(">I", header, 100)
    while True:
        kind, length = struct.unpack_from(">II", header, at)
        if kind == EXTENSION:
            return struct.unpack_from(">IIQQ", header, at + 8)
        if kind == 0:
            return None
        at += 8 + (length + 7) // 8 * 8


def _bits(file, table_at, entries, cluster, size):
    """`size` bytes, as on disk."""
    file.seek(table_at)
    bits = b""
    for word in struct.unpack(f">{entries}Q", file.read(entries * 8)):
        offset = word & 0x00FFFFFFFFFFFE00
        if offset:
            file.seek(offset)
            bits += file.read(cluster).ljust(cluster, b"\0")
        else:
            bits += (b"\xff" if word & 1 else b"\0") * cluster
    return bits[:size]


def mark_in_use(path, names):
    """As if their last user had not written them back."""
    with open(path, "r+b") as file:
        count, _, directory_size, directory_at = _extension(file.read(65536))
        file.seek(directory_at)
        directory, at = file.read(directory_size), 0
        for _ in range(count):
            flags, _, _, name_size, extra = struct.unpack_from(">IBBHI", directory, at + 12)
            if directory[at + 24 + extra:at + 24 + extra + name_size].decode() in names:
                file.seek(directory_at + at + 12)
                file.write(struct.pack(">I", flags | 1))
            at += (24 + extra + name_size + 7) // 8 * 8


def bitmaps_of(path):
    """{name: (flags, granularity, its dirty granules as text)}, in the directory's order; bits of one in use are not looked at."""
    with open(path, "rb") as file:
        header = file.read(65536)
        version, = struct.unpack_from(">I", header, 4)
        if version < 3 or not struct.unpack_from(">Q", header, 88)[0] & AUTOCLEAR_BITMAPS:
            return {}
        cluster = 1 << struct.unpack_from(">I", header, 20)[0]
        disk_size, = struct.unpack_from(">Q", header, 24)
        extension = _extension(header)
        if extension is None:
            return {}
        count, _, directory_size, directory_at = extension
        file.seek(directory_at)
        directory = file.read(directory_size)
        bitmaps, at = {}, 0
        for _ in range(count):
            table_at, entries, flags, _, bits, name_size, extra = struct.unpack_from(">QIIBBHI", directory, at)
            name = directory[at + 24 + extra:at + 24 + extra + name_size]
            granules = (disk_size + (1 << bits) - 1) >> bits
            data = b"" if flags & 1 else _bits(file, table_at, entries, cluster, (granules + 7) // 8)
            dirty = [at * 8 + i for at, byte in enumerate(data) if byte for i in range(8) if byte >> i & 1]
            bitmaps[name] = (flags, 1 << bits, _runs(dirty))
            at += (24 + extra + name_size + 7) // 8 * 8
        return bitmaps


def _runs(numbers):
    runs = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1][1] += 1
        else:
            runs.append([number, number + 1])
    return " ".join(f"{begin}-{end}" for begin, end in runs)
