#!/usr/bin/env python3
"""What goes wrong around the tool: one clear line, exit code 1, and nothing left behind."""

import os
import resource
import signal
import socket
import stat
import sys
import time

import support
from support import (
    EIB, KIB, MIB, Skip, allocated, as_nobody, check_fails, check_ok, contents, digest_of, names_in, need_root,
    pattern, run, sh, start, text_of, write_layout,
)

NO_SPACE = "No space left on device"


def fails_and_leaves(folder, names, *words, says=(), code=1, **options):
    check_fails(run(*words, **options), *says, code=code)
    assert names_in(folder) == names, names_in(folder)


# --- no space


def no_space(cleanup, folder):
    source = write_layout(cleanup.folder() + "/s", "24M 0+24M")
    target = folder + "/t"
    before = names_in(folder)
    fails_and_leaves(folder, before, "convert", source, target, says=(target, NO_SPACE))
    fails_and_leaves(folder, before, "convert", "-S", "0", "-W", source, target, says=(target, NO_SPACE))
    fails_and_leaves(folder, before, "convert", "-t", "writeback", source, target, says=(NO_SPACE,))
    for mode in ("full", "falloc"):
        words = "-q", "-o", "preallocation=" + mode, target
        fails_and_leaves(folder, before, "create", *words, "24M", says=(target, NO_SPACE))
        fails_and_leaves(folder, before, "convert", "-o", "preallocation=" + mode, source, target, says=(NO_SPACE,))
        write_layout(target, "4097 0+4097")
        words = "-f", "raw", "--preallocation=" + mode, target, "+24M"
        fails_and_leaves(folder, [*before, "t"], "resize", *words, says=(NO_SPACE,))
        assert contents(target) == pattern(0, 4097)
        os.unlink(target)
    write_layout(target, "24M")
    fails_and_leaves(folder, [*before, "t"], "convert", "-n", source, target, says=(target, NO_SPACE))
    fails_and_leaves(folder, [*before, "t"], "convert", source, target, says=(target, NO_SPACE))


def test_no_space_on_tmpfs(cleanup):
    no_space(cleanup, cleanup.tmpfs("8M"))


def test_no_space_on_ext4(cleanup):
    no_space(cleanup, cleanup.filesystem("ext4", 12 * MIB))


def hardly_enough_space(cleanup, folder):
    """What is taken ahead must not be what is needed."""
    left = os.statvfs(folder).f_bavail * os.statvfs(folder).f_bsize
    size = (left - 2 * MIB) // MIB * MIB
    source = write_layout(cleanup.folder() + "/s", f"{size} 0+{size}")
    target = folder + "/t"
    check_ok(run("convert", "-f", "raw", "-O", "qcow2", source, target))
    check_ok(run("compare", "-f", "raw", "-F", "qcow2", source, target))
    os.unlink(target)


def test_hardly_enough_space_on_tmpfs(cleanup):
    hardly_enough_space(cleanup, cleanup.tmpfs("100M"))


def test_hardly_enough_space_on_ext4(cleanup):
    hardly_enough_space(cleanup, cleanup.filesystem("ext4", 100 * MIB))


def test_hardly_enough_space_on_xfs(cleanup):
    hardly_enough_space(cleanup, cleanup.filesystem("xfs", 400 * MIB))


def test_no_inodes(cleanup):
    folder = cleanup.mount("-t", "tmpfs", "-o", "size=1M,nr_inodes=1", "tmpfs")
    fails_and_leaves(folder, [], "create", "-q", folder + "/t", "1K", says=(NO_SPACE,))


def test_disk_quota(cleanup):
    need_root()
    folder = cleanup.folder()
    try:
        folder = cleanup.mount("-t", "tmpfs", "-o", "size=32M,usrquota,usrquota_block_hardlimit=2M", "tmpfs")
    except AssertionError as why:
        raise Skip(f"the kernel has no quota: {support.one_line(why)}") from None
    os.chmod(folder, 0o777)
    source = write_layout(cleanup.folder() + "/s", "8M 0+8M")
    says = ("Disk quota exceeded",)
    fails_and_leaves(folder, [], "convert", source, folder + "/t", says=says, preexec_fn=as_nobody)


# --- I/O errors


def test_unreadable_source(cleanup):
    image = write_layout(cleanup.folder() + "/s", "8M 0+8M")
    device = cleanup.loop(image)
    os.truncate(image, 4 * MIB)  # the device keeps its size; beyond 4 MiB it can't be read
    folder = cleanup.folder()
    target = folder + "/t"
    says = (device, "Input/output error", "offset")
    fails_and_leaves(folder, [], "convert", device, target, says=says)
    write_layout(target, "8M")
    fails_and_leaves(folder, ["t"], "convert", "-n", device, target, says=says)
    done = run("compare", image, device)
    assert done.code == 4 and "Input/output error" in done.err and len(done.err.splitlines()) == 1, done


def test_salvage(cleanup):
    image = write_layout(cleanup.folder() + "/s", "6M 0+6M")
    device = cleanup.loop(image)
    os.truncate(image, 6 * MIB - 64 * KIB)
    target = cleanup.folder() + "/t"
    done = run("convert", "--salvage", device, target)
    lines = done.err.splitlines()
    assert done.code == 0 and lines, done
    assert all(line.startswith("platter: warning: ") and "Input/output error" in line for line in lines), done
    whole = contents(target)
    assert len(whole) == 6 * MIB and whole[: 6 * MIB - 64 * KIB] == pattern(0, 6 * MIB - 64 * KIB)
    assert whole[6 * MIB - 64 * KIB :] == bytes(64 * KIB)
    check_ok(run("convert", "--salvage", "-q", device, target))


def test_target_device_fails(cleanup):
    backing = cleanup.tmpfs("2M") + "/device"
    with open(backing, "wb") as file:
        file.truncate(16 * MIB)
    device = cleanup.loop(backing)
    source = write_layout(cleanup.folder() + "/s", "16M 0+16M")
    for words in (("-n",), (), ("-t", "writeback", "-n")):
        done = run("convert", *words, source, device)
        assert done.code == 1 and len(done.err.splitlines()) == 1 and device in done.err, done
        assert "Input/output error" in done.err or NO_SPACE in done.err, done


# --- permissions


def test_permissions(cleanup):
    need_root()
    folder = cleanup.folder()
    write_layout(folder + "/secret", "64K 0+64K")
    os.chmod(folder + "/secret", 0o600)
    write_layout(folder + "/open", "64K 0+64K")
    denied, as_user = ("Permission denied",), {"preexec_fn": as_nobody}
    secret, readable, before = folder + "/secret", folder + "/open", names_in(folder)
    for verb in ("info", "map"):
        fails_and_leaves(folder, before, verb, secret, says=(secret, *denied), **as_user)
    fails_and_leaves(folder, before, "compare", secret, readable, says=denied, code=2, **as_user)
    fails_and_leaves(folder, before, "resize", "-f", "raw", readable, "+1M", says=denied, **as_user)
    fails_and_leaves(folder, before, "convert", secret, "/dev/shm/no", says=denied, **as_user)
    fails_and_leaves(folder, before, "convert", readable, folder + "/t", says=denied, **as_user)
    fails_and_leaves(folder, before, "convert", "-n", readable, secret, says=denied, **as_user)
    fails_and_leaves(folder, before, "convert", secret, readable, says=denied, **as_user)
    fails_and_leaves(folder, before, "create", "-q", folder + "/t", "1M", says=denied, **as_user)
    fails_and_leaves(folder, before, "create", "-q", readable, "1M", says=denied, **as_user)
    assert contents(readable) == contents(secret) == pattern(0, 64 * KIB)


def test_folder_that_can_not_be_listed(cleanup):
    need_root()
    folder = cleanup.folder()
    source = write_layout(folder + "/s", "64K 0+64K")
    os.mkdir(folder + "/box")
    os.chmod(folder + "/box", 0o333)
    check_ok(run("convert", source, folder + "/box/t", preexec_fn=as_nobody))
    assert contents(folder + "/box/t") == contents(source) and names_in(folder + "/box") == ["t"]


def test_read_only_filesystem(cleanup):
    folder = cleanup.tmpfs("8M")
    write_layout(folder + "/a", "64K 0+64K")
    source = write_layout(cleanup.folder() + "/s", "64K 0+64K=2")
    sh("mount", "-o", "remount,ro", folder)
    read_only = ("Read-only file system",)
    fails_and_leaves(folder, ["a"], "convert", source, folder + "/t", says=read_only)
    fails_and_leaves(folder, ["a"], "convert", source, folder + "/a", says=read_only)
    fails_and_leaves(folder, ["a"], "convert", "-n", source, folder + "/a", says=read_only)
    fails_and_leaves(folder, ["a"], "create", "-q", folder + "/t", "1M", says=read_only)
    fails_and_leaves(folder, ["a"], "create", "-q", folder + "/a", "1M", says=read_only)
    fails_and_leaves(folder, ["a"], "resize", "-f", "raw", folder + "/a", "+1M", says=read_only)
    check_ok(run("convert", folder + "/a", cleanup.folder() + "/t"))
    check_ok(run("info", folder + "/a"), out=run("info", "-U", folder + "/a").out)


def test_read_only_device(cleanup):
    backing = write_layout(cleanup.folder() + "/d", "1M 0+1M")
    device = cleanup.loop(backing, read_only=True)
    source = write_layout(cleanup.folder() + "/s", "1M 0+1M=2")
    for words in (("-n",), ()):
        done = run("convert", *words, source, device)
        assert done.code == 1 and len(done.err.splitlines()) == 1, done
    assert contents(backing) == pattern(0, MIB)
    check_ok(run("convert", device, cleanup.folder() + "/t"))


# --- things that are no images


def unfit_files(cleanup):
    folder = cleanup.folder()
    os.mkdir(folder + "/folder")
    os.mkfifo(folder + "/fifo")
    listener = socket.socket(socket.AF_UNIX)
    cleanup.callback(listener.close)
    listener.bind(folder + "/socket")
    return [folder + "/folder", folder + "/fifo", folder + "/socket", "/dev/null", "/dev/zero", "/dev/tty"]


def test_unfit_sources(cleanup):
    target_folder = cleanup.folder()
    good = write_layout(cleanup.folder() + "/good", "64K 0+64K")
    for unfit in (*unfit_files(cleanup), target_folder + "/missing"):
        says = (unfit,)
        fails_and_leaves(target_folder, [], "convert", unfit, target_folder + "/t", says=says, timeout=10)
        fails_and_leaves(target_folder, [], "convert", good, unfit, target_folder + "/t", says=says, timeout=10)
        fails_and_leaves(target_folder, [], "info", unfit, says=says, timeout=10)
        fails_and_leaves(target_folder, [], "map", unfit, says=says, timeout=10)
        fails_and_leaves(target_folder, [], "compare", unfit, good, says=says, code=2, timeout=10)
        fails_and_leaves(target_folder, [], "compare", good, unfit, says=says, code=2, timeout=10)


def test_unfit_targets(cleanup):
    good = write_layout(cleanup.folder() + "/good", "64K 0+64K")
    for unfit in unfit_files(cleanup):
        kind = stat.S_IFMT(os.stat(unfit).st_mode)
        for words in (
            ("convert", good, unfit), ("convert", "-n", good, unfit), ("create", "-q", unfit, "1M"),
            ("resize", "-f", "raw", unfit, "1M"),
        ):
            check_fails(run(*words, timeout=10), unfit)
        assert stat.S_IFMT(os.stat(unfit).st_mode) == kind
        assert kind != stat.S_IFDIR or not os.listdir(unfit)


def test_empty_file(cleanup):
    folder = cleanup.folder()
    empty = write_layout(folder + "/empty", "0")
    check_ok(run("convert", empty, folder + "/t"), out="")
    assert os.path.getsize(folder + "/t") == 0
    check_ok(run("compare", empty, folder + "/t"), out="Images are identical.\n")
    assert '"virtual-size": 0' in check_ok(run("info", "--output=json", empty)).out
    check_ok(run("convert", "-n", empty, folder + "/t"), out="")


# --- sizes at the end of the range


def huge(folder):
    """A sparse image of 7 EiB: quick in all verbs."""
    image, copy = folder + "/huge", folder + "/copy"
    size = 7 * EIB
    begin = time.monotonic()
    check_ok(run("create", "-q", image, "7E"))
    with open(image, "r+b") as file:
        for offset in (0, 3 * EIB + 4 * KIB, size - 64 * KIB):
            file.seek(offset)
            file.write(pattern(offset, 64 * KIB))
    assert f'"virtual-size": {size}' in check_ok(run("info", "--output=json", image)).out
    # The first write begins at 0; the other two lie at multiples of 4 KiB.
    map_lines = check_ok(run("map", image)).out.splitlines()
    assert len(map_lines) == 4, map_lines
    check_ok(run("convert", image, copy), out="")
    assert os.path.getsize(copy) == size and digest_of(copy) == digest_of(image)
    assert abs(allocated(copy) - allocated(image)) <= 64 * KIB
    check_ok(run("compare", image, copy), out="Images are identical.\n")
    check_ok(run("resize", "-f", "raw", "--shrink", copy, "-1E"), out="Image resized.\n")
    assert os.path.getsize(copy) == 6 * EIB
    assert time.monotonic() - begin < 20, f"{time.monotonic() - begin:.1f} s"


def test_seven_exbibytes_on_tmpfs(cleanup):
    huge(cleanup.tmpfs("64M"))


def test_seven_exbibytes_on_xfs(cleanup):
    huge(cleanup.filesystem("xfs", 320 * MIB))


def test_too_large_for_the_filesystem(cleanup):
    folder = cleanup.filesystem("ext4", 64 * MIB)
    source = cleanup.tmpfs("8M") + "/s"
    check_ok(run("create", "-q", source, "7E"))
    fails_and_leaves(folder, ["lost+found"], "convert", source, folder + "/t", says=(folder + "/t",))
    fails_and_leaves(folder, ["lost+found"], "create", "-q", folder + "/t", "7E", says=(folder + "/t",))


# --- changes while it works


def slow_convert(cleanup, source, target, *words):
    """Copies 2 MiB each second."""
    process = cleanup.process(start("convert", "-r", "2M", "-m", "1", *words, source, target))
    time.sleep(0.7)
    assert process.poll() is None, text_of(process.communicate()[1])
    return process


def ends(process):
    out, err = process.communicate(timeout=support.TIMEOUT_S)
    return support.Run(process.returncode, text_of(out), text_of(err))


def test_source_shrinks(cleanup):
    folder = cleanup.folder()
    source = write_layout(cleanup.folder() + "/s", "5M 0+5M")
    for words in ((), ("-T", "writeback"), ("-C",), ("--salvage",)):
        write_layout(source, "5M 0+5M")
        process = slow_convert(cleanup, source, folder + "/t", *words)
        os.truncate(source, 4 * MIB + 1000)
        done = ends(process)
        check_fails(done, source, "ends at offset 4195304")
        assert names_in(folder) == []


def test_source_grows(cleanup):
    folder = cleanup.folder()
    source = write_layout(cleanup.folder() + "/s", "4M 0+4M")
    process = slow_convert(cleanup, source, folder + "/t")
    os.truncate(source, 5 * MIB)
    check_ok(ends(process))
    assert contents(folder + "/t") == pattern(0, 4 * MIB)


def test_target_appears(cleanup):
    folder = cleanup.folder()
    source = write_layout(cleanup.folder() + "/s", "3M 0+3M")
    process = slow_convert(cleanup, source, folder + "/t")
    write_layout(folder + "/t", "1000 0+1000")
    check_fails(ends(process), folder + "/t", "File exists")
    assert names_in(folder) == ["t"] and contents(folder + "/t") == pattern(0, 1000)


def test_target_folder_vanishes(cleanup):
    folder = cleanup.folder()
    source = write_layout(folder + "/s", "3M 0+3M")
    os.mkdir(folder + "/box")
    process = slow_convert(cleanup, source, folder + "/box/t")
    os.rmdir(folder + "/box")  # nothing is in it, hidden or not
    check_fails(ends(process), folder + "/box/t", "No such file or directory")
    assert names_in(folder) == ["s"]


def test_target_folder_moves(cleanup):
    folder = cleanup.folder()
    source = write_layout(folder + "/s", "3M 0+3M")
    os.mkdir(folder + "/box")
    process = slow_convert(cleanup, source, folder + "/box/t")
    os.rename(folder + "/box", folder + "/moved")
    check_ok(ends(process))
    assert names_in(folder) == ["moved", "s"] and contents(folder + "/moved/t") == contents(source)


def test_target_folder_becomes_read_only(cleanup):
    need_root()
    folder = cleanup.folder()
    source = write_layout(folder + "/s", "3M 0+3M")
    os.mkdir(folder + "/box")
    os.chown(folder + "/box", 65534, 65534)
    process = cleanup.process(
        start("convert", "-r", "2M", "-m", "1", source, folder + "/box/t", preexec_fn=as_nobody)
    )
    time.sleep(0.7)
    os.chown(folder + "/box", 0, 0)
    check_fails(ends(process), folder + "/box/t", "Permission denied")
    assert names_in(folder + "/box") == []


def test_source_is_unlinked(cleanup):
    folder = cleanup.folder()
    source = write_layout(folder + "/s", "3M 0+3M")
    process = slow_convert(cleanup, source, folder + "/t")
    os.unlink(source)
    check_ok(ends(process))
    assert contents(folder + "/t") == pattern(0, 3 * MIB)


# --- limits of the process


def limit(which, value, **more):
    def apply():
        resource.setrlimit(which, (value, value))

    return {"preexec_fn": apply} | more


def test_file_size_limit(cleanup):
    folder = cleanup.folder()
    source = write_layout(cleanup.folder() + "/s", "8M 0+8M")
    limited = limit(resource.RLIMIT_FSIZE, 2 * MIB)
    says = ("File too large",)
    for words in ((), ("-t", "writeback"), ("-S", "0"), ("-o", "preallocation=full"), ("-o", "preallocation=falloc"), ("-C",)):
        fails_and_leaves(folder, [], "convert", *words, source, folder + "/t", says=says, **limited)
    for words in ((), ("-o", "preallocation=full")):
        done = run("create", "-q", *words, folder + "/t", "8M", **limited)
        assert done.code == 1 and len(done.err.splitlines()) == 1 and "too large" in done.err, done
    assert names_in(folder) == []
    write_layout(folder + "/t", "1M 0+1M")
    done = run("resize", "-f", "raw", folder + "/t", "8M", **limited)
    check_fails(done, *says)
    assert contents(folder + "/t") == pattern(0, MIB)
    write_layout(folder + "/t", "8M")
    fails_and_leaves(folder, ["t"], "convert", "-n", source, folder + "/t", says=says, **limited)


def test_few_descriptors(cleanup):
    folder = cleanup.folder()
    source = write_layout(cleanup.folder() + "/s", "1M 0+1M")
    succeeded = False
    for count in range(3, 24):
        done = run("convert", source, folder + "/t", binary=support.PLATTER_RELEASE, **limit(resource.RLIMIT_NOFILE, count))
        if done.code == 0:
            check_ok(done)
            assert contents(folder + "/t") == contents(source)
            os.unlink(folder + "/t")
            succeeded = True
        elif done.code == 127 and "shared" in done.err:  # the loader itself needs one
            continue
        else:
            assert not succeeded, "more descriptors, and it fails"
            check_fails(done, "Too many open files")
        assert names_in(folder) == []
    assert succeeded


def test_little_locked_memory(cleanup):
    """Registered buffers count against the limit: without them it works as well."""
    need_root()
    folder = cleanup.folder()
    os.chmod(folder, 0o777)
    source = write_layout(folder + "/s", "8M 0+8M")

    def apply():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (64 * KIB, 64 * KIB))
        as_nobody()

    check_ok(run("convert", source, folder + "/t", preexec_fn=apply), out="")
    assert contents(folder + "/t") == contents(source)


def test_standard_output_is_closed(cleanup):
    folder = cleanup.folder()
    image = write_layout(folder + "/a", "64K 0+4K")
    close = {"preexec_fn": lambda: os.close(1), "stdout": None}
    # Nothing to say: no reason to fail.
    check_ok(run("convert", image, folder + "/t", **close))
    assert contents(folder + "/t") == contents(image), "a file took the number of standard output"
    for words in (("info", image), ("map", image), ("compare", image, image), ("create", folder + "/u", "1M")):
        check_fails(run(*words, **close), "Could not write to standard output")
    if os.path.exists(folder + "/u"):
        assert os.path.getsize(folder + "/u") == MIB and set(contents(folder + "/u")) == {0}
    assert contents(image)[: 4 * KIB] == pattern(0, 4 * KIB)
    for stream in (0, 2):
        done = run("convert", image, folder + "/v", preexec_fn=lambda fd=stream: os.close(fd))
        assert done.code == 0, done
        assert contents(folder + "/v") == contents(image)
        os.unlink(folder + "/v")


def test_standard_output_is_full(cleanup):
    folder = cleanup.folder()
    image = write_layout(folder + "/a", "64K 0+4K 8K+4K")
    with open("/dev/full", "w") as full:
        for words in (("info", image), ("map", "--output=json", image), ("compare", image, image), ("--help",), ("convert", "-o", "help")):
            check_fails(run(*words, stdout=full), NO_SPACE)
        done = run("convert", "-p", image, folder + "/t", stdout=full)
        check_fails(done, "Could not write to standard output")
        # A difference stays a difference.
        other = write_layout(folder + "/b", "64K 0+4K=2")
        check_fails(run("compare", image, other, stdout=full), NO_SPACE, code=1)


def test_standard_output_is_a_closed_pipe(cleanup):
    folder = cleanup.folder()
    extents = " ".join(f"{8 * number}K+4K" for number in range(4000))
    image = write_layout(folder + "/a", "64M " + extents)
    process = cleanup.process(start("map", image))
    process.stdout.read(10)
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=support.TIMEOUT_S)
    # Killed by SIGPIPE as other tools are, or a line that says so.
    assert process.returncode == -signal.SIGPIPE or (process.returncode == 1 and len(err.splitlines()) == 1), err


def test_dangling_folder(cleanup):
    """Started in a folder that is gone."""
    place = cleanup.folder()
    source = write_layout(cleanup.folder() + "/s", "64K 0+64K")

    def leave():
        os.chdir(place)
        os.rmdir(place)

    check_fails(run("convert", source, "t", preexec_fn=leave), "Could not create 't'")
    os.mkdir(place)


def test_no_proc(cleanup):
    """Files are checked before they are opened for good, by way of /proc."""
    need_root()
    folder = cleanup.folder()
    source = write_layout(folder + "/s", "64K 0+64K")
    script = 'mount -t tmpfs none /proc && exec "$0" convert "$1" "$2"'
    words = "--mount", "sh", "-c", script, support.PLATTER_RELEASE, source, folder + "/t"
    check_fails(run(*words, binary="unshare"), "/proc is needed")
    assert names_in(folder) == ["s"]


if __name__ == "__main__":
    tests = [value for name, value in list(globals().items()) if name.startswith("test_")]
    sys.exit(support.run_suite("errors", tests))
