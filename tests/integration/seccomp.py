"""System calls that fail in a child, as containers and old filesystems make them fail."""

import ctypes
import errno
import platform
import struct

_NUMBERS = {
    "x86_64": {"arch": 0xC000003E, "openat": 257, "io_uring_setup": 425},
    "aarch64": {"arch": 0xC00000B7, "openat": 56, "io_uring_setup": 425},
}
_O_TMPFILE = 0o20000000  # without O_DIRECTORY, which differs between machines

_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000


def is_known_machine():
    return platform.machine() in _NUMBERS


def _install(instructions):
    """Each instruction: code, jump if true, jump if false, operand."""

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    code = b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = Program(len(instructions), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_ulong] * 4
    libc.prctl.argtypes = [ctypes.c_int, *words]
    if libc.prctl(38, 1, 0, 0, 0) != 0:  # PR_SET_NO_NEW_PRIVS
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if libc.prctl(22, 2, ctypes.addressof(program), 0, 0) != 0:  # PR_SET_SECCOMP, filter
        raise OSError(ctypes.get_errno(), "seccomp")


def forbid_io_uring():
    """For preexec_fn: io_uring_setup() gives EPERM."""
    numbers = _NUMBERS[platform.machine()]
    _install([
        (_LOAD, 0, 0, 4),
        (_JUMP_IF_EQUAL, 0, 3, numbers["arch"]),
        (_LOAD, 0, 0, 0),
        (_JUMP_IF_EQUAL, 0, 1, numbers["io_uring_setup"]),
        (_RETURN, 0, 0, _FAIL | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ])


def forbid_unnamed_files():
    """For preexec_fn: openat(O_TMPFILE) gives EOPNOTSUPP, as on VFAT or NFS."""
    numbers = _NUMBERS[platform.machine()]
    _install([
        (_LOAD, 0, 0, 4),
        (_JUMP_IF_EQUAL, 0, 5, numbers["arch"]),
        (_LOAD, 0, 0, 0),
        (_JUMP_IF_EQUAL, 0, 3, numbers["openat"]),
        (_LOAD, 0, 0, 16 + 8 * 2),  # the low half of the third argument: flags
        (_JUMP_IF_SET, 0, 1, _O_TMPFILE),
        (_RETURN, 0, 0, _FAIL | errno.EOPNOTSUPP),
        (_RETURN, 0, 0, _ALLOW),
    ])
