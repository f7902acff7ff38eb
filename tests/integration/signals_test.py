#!/usr/bin/env python3
"""Signals, progress, and what is left when a run ends early."""

import fcntl
import os
import pty
import re
import select
import signal
import sys
import time

import seccomp
import support
from support import MIB, Skip, check_fails, check_ok, contents, names_in, pattern, run, sh, start, text_of, wait_until, write_layout

STOPS = ((signal.SIGINT, 130), (signal.SIGTERM, 143))
PERCENT = r" {4}\(\d+\.\d\d/100%\)"
HIDDEN = re.compile(r"^\.t\.[0-9a-f]{8}\.partial$")


def slow_convert(cleanup, *words, wait=0.6, **options):
    """Copies 2 MiB each second; of 8 MiB."""
    process = cleanup.process(start("convert", "-r", "2M", "-m", "1", *words, **options))
    time.sleep(wait)
    assert process.poll() is None, text_of(process.communicate()[1])
    return process


def ends(process):
    out, err = process.communicate(timeout=support.TIMEOUT_S)
    return support.Run(process.returncode, text_of(out), text_of(err))


def make_source(cleanup):
    return write_layout(cleanup.folder() + "/s", "8M 0+8M")


def unnamed_forbidden():
    if not seccomp.is_known_machine():
        raise Skip("no seccomp filter for this machine")
    return {"preexec_fn": seccomp.forbid_unnamed_files}


def wait_until_unlocked(path):
    """The kernel closes the files of a killed process's ring a little later."""

    def unlocked():
        with open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    wait_until(unlocked, "the lock is free")


def check_free(path):
    """Nobody holds a lock on it."""
    done = run("-f", "raw", "-c", "write 0 512", path, binary=support.QEMU_IO)
    assert done.code == 0, done


# --- stopping


def test_new_target_stopped(cleanup):
    source, folder = make_source(cleanup), cleanup.folder()
    for number, code in STOPS:
        for words in ((), ("-W",), ("-C",), ("-t", "writeback", "-T", "writeback"), ("-o", "preallocation=full")):
            process = slow_convert(cleanup, *words, source, folder + "/t", wait=0.3)
            process.send_signal(number)
            done = ends(process)
            check_fails(done, "interrupted" if number == signal.SIGINT else "terminated", code=code)
            assert done.out == "" and names_in(folder) == [], (done, names_in(folder))


def test_stop_is_quick(cleanup):
    source, folder = make_source(cleanup), cleanup.folder()
    process = cleanup.process(start("convert", "-r", "100k", source, folder + "/t"))
    time.sleep(0.5)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    check_fails(ends(process), code=130)
    assert time.monotonic() - begin < 2, f"took {time.monotonic() - begin:.1f} s"


def test_existing_target_stopped(cleanup):
    source, folder = make_source(cleanup), cleanup.folder()
    target = folder + "/t"
    for number, code in STOPS:
        for words in ((), ("-n",)):
            write_layout(target, "8M 0+8M=2")
            inode = os.stat(target).st_ino
            process = slow_convert(cleanup, *words, source, target)
            process.send_signal(number)
            check_fails(ends(process), code=code)
            assert names_in(folder) == ["t"] and os.stat(target).st_ino == inode
            check_free(target)


def test_other_verbs_stopped(cleanup):
    folder = cleanup.tmpfs("3G")
    for number, code in STOPS:
        process = cleanup.process(start("create", "-q", "-o", "preallocation=full", folder + "/t", "2G"))
        time.sleep(0.15)
        process.send_signal(number)
        done = ends(process)
        assert done.code in (code, -number), done  # so early that nothing had begun, or in the midst
        assert names_in(folder) == [], names_in(folder)
    image = write_layout(folder + "/a", "64M")
    process = cleanup.process(start("resize", "-q", "-f", "raw", "--preallocation=full", image, "2G"))
    time.sleep(0.15)
    process.send_signal(signal.SIGINT)
    assert ends(process).code in (130, -signal.SIGINT)
    assert os.path.getsize(image) == 64 * MIB


def test_commit_and_rebase_stopped(cleanup):
    """What the overlay shows stays, and all images are clean."""
    for number, code in STOPS:
        folder = cleanup.folder()
        for name in ("base", "other"):
            sh(support.QEMU_IMG, "create", "-q", "-f", "qcow2", name, "16M", cwd=folder)
        sh(support.QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top", cwd=folder)
        sh(support.QEMU_IO, "-f", "qcow2", "-c", "write -P 1 0 8M", "-c", "write -z 12M 1M", folder + "/top")
        check_ok(run("convert", folder + "/top", folder + "/before"))
        process = cleanup.process(start("commit", "-r", "2M", "top", cwd=folder))
        time.sleep(0.6)
        process.send_signal(number)
        check_fails(ends(process), "", code=code)
        process = cleanup.process(start("rebase", "-b", "other", "-F", "qcow2", "top", cwd=folder))
        process.send_signal(number)
        assert ends(process).code in (0, code, -number)
        for name in ("base", "other", "top"):
            sh(support.QEMU_IMG, "check", "-q", name, cwd=folder)
        sh(support.QEMU_IMG, "compare", "-q", "top", "before", cwd=folder)


def test_progress_ends_its_line_when_stopped(cleanup):
    source, folder = make_source(cleanup), cleanup.folder()
    process = slow_convert(cleanup, "-p", source, folder + "/t")
    process.send_signal(signal.SIGINT)
    done = ends(process)
    check_fails(done, "interrupted", code=130)
    assert re.fullmatch(f"({PERCENT}\r)+\n", done.out), done


def test_second_signal_kills(cleanup):
    """Writes that hang, on a frozen filesystem: who asks twice does not wait."""
    folder = cleanup.filesystem("xfs", 320 * MIB)
    source = make_source(cleanup)
    for first, second in ((signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)):
        process = slow_convert(cleanup, source, folder + "/t")
        sh("fsfreeze", "--freeze", folder)
        try:
            time.sleep(1)
            process.send_signal(first)
            time.sleep(0.5)
            assert process.poll() is None, "the first signal waits for what is in flight"
            process.send_signal(second)
            time.sleep(0.2)
        finally:
            sh("fsfreeze", "--unfreeze", folder)
        done = ends(process)
        # A signal of the other kind is a first one of its kind.
        expected = (-second, 128 + first) if first != second else (-second,)
        assert done.code in expected, done
        assert names_in(folder) == [], names_in(folder)


def test_first_signal_waits_for_what_is_in_flight(cleanup):
    folder = cleanup.filesystem("xfs", 320 * MIB)
    process = slow_convert(cleanup, make_source(cleanup), folder + "/t")
    sh("fsfreeze", "--freeze", folder)
    try:
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    finally:
        sh("fsfreeze", "--unfreeze", folder)
    check_fails(ends(process), "interrupted", code=130)
    assert names_in(folder) == []


def test_killed(cleanup):
    source, folder = make_source(cleanup), cleanup.folder()
    for number in (signal.SIGKILL, signal.SIGHUP, signal.SIGQUIT):
        process = slow_convert(cleanup, source, folder + "/t", wait=0.4)
        process.send_signal(number)
        assert ends(process).code == -number
        assert names_in(folder) == []


def test_ignored_hangup(cleanup):
    """As under nohup."""
    source, folder = write_layout(cleanup.folder() + "/s", "3M 0+3M"), cleanup.folder()
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    process = slow_convert(cleanup, source, folder + "/t", **ignore)
    process.send_signal(signal.SIGHUP)
    check_ok(ends(process))


# --- progress


def test_status_signal(cleanup):
    source, folder = write_layout(cleanup.folder() + "/s", "4M 0+4M"), cleanup.folder()
    process = slow_convert(cleanup, source, folder + "/t")
    for _ in range(3):
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.3)
    done = ends(process)
    assert done.code == 0 and done.out == "", done
    assert re.fullmatch(f"({PERCENT}\n){{3}}", done.err), done
    steps = [float(step) for step in re.findall(r"\((.*?)/", done.err)]
    assert steps == sorted(steps) and 0 < steps[-1] < 100, steps


def test_status_signal_like_qemu_img(cleanup):
    source, folder = write_layout(cleanup.folder() + "/s", "4M 0+4M"), cleanup.folder()
    results = []
    for binary in (support.PLATTER, support.QEMU_IMG):
        process = slow_convert(cleanup, "-t", "none", source, folder + "/t", binary=binary)
        process.send_signal(signal.SIGUSR1)
        done = ends(process)
        results.append(re.sub(r"\d+\.\d\d", "N", done.err))
        os.unlink(folder + "/t")
    assert results[0] == results[1], results


def test_progress_without_terminal(cleanup):
    source, folder = write_layout(cleanup.folder() + "/s", "20M 0+20M"), cleanup.folder()
    for words in (("convert", "-p", source, folder + "/t"), ("compare", "-p", source, folder + "/t")):
        done = check_ok(run(*words))
        assert re.fullmatch(rf" {{4}}\(0\.00/100%\)\r({PERCENT}\r)* {{4}}\(100\.00/100%\)\r(Images are identical.\n)?\n", done.out), done
        steps = [float(step) for step in re.findall(r"\((.*?)/", done.out)]
        assert steps == sorted(steps), steps


def on_terminal(cleanup, *words):
    """What the tool writes to a terminal of its own."""
    parent, child = pty.openpty()
    cleanup.callback(os.close, parent)
    process = cleanup.process(start(*words, stdout=child))
    os.close(child)
    written = b""
    while True:
        ready, _, _ = select.select([parent], [], [], support.TIMEOUT_S)
        assert ready, "nothing is written"
        try:
            piece = os.read(parent, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not piece:
            break
        written += piece
    _, err = process.communicate(timeout=support.TIMEOUT_S)
    return support.Run(process.returncode, text_of(written), text_of(err))


def test_progress_on_a_terminal(cleanup):
    source, folder = write_layout(cleanup.folder() + "/s", "4M 0+4M"), cleanup.folder()
    done = on_terminal(cleanup, "convert", "-p", "-r", "2M", source, folder + "/t")
    assert done.code == 0 and done.err == "", done
    bar = r"\r\x1b\[K\[#*\.*\] +\d+\.\d%  [\d.]+ (B|KiB|MiB) of 4 MiB  [\d.]+ (B|KiB|MiB)/s  \d+:\d\d left"
    assert re.fullmatch(f"({bar}){{3,}}\r\n", done.out), done
    assert "[" + "#" * 30 + "] 100.0%  4 MiB of 4 MiB" in done.out, done
    assert all(len(line) < 100 for line in done.out.split("\r")), done
    times = re.findall(r"(\d+):(\d\d) left", done.out)
    assert times[-1] == ("0", "00"), times


def test_progress_of_nothing_on_a_terminal(cleanup):
    folder = cleanup.folder()
    for size in ("0", "1M"):
        source = write_layout(folder + "/s", size)
        done = on_terminal(cleanup, "convert", "-p", source, folder + "/t")
        assert done.code == 0 and done.err == "" and done.out.endswith("\r\n") and "100.0%" in done.out, done
        assert "nan" not in done.out and "inf" not in done.out, done
        os.unlink(folder + "/t")


def test_no_bar_unless_asked(cleanup):
    source, folder = write_layout(cleanup.folder() + "/s", "1M 0+1M"), cleanup.folder()
    assert on_terminal(cleanup, "convert", source, folder + "/t").out == ""
    assert on_terminal(cleanup, "convert", "-q", "-p", source, folder + "/t").out == ""


def test_compare_bar_on_a_terminal(cleanup):
    source = write_layout(cleanup.folder() + "/s", "4M 0+4M")
    done = on_terminal(cleanup, "compare", "-p", source, source)
    assert done.code == 0 and "100.0%" in done.out and "Images are identical.\r\n" in done.out, done


# --- filesystems without O_TMPFILE


def test_hidden_name(cleanup):
    source, folder, options = write_layout(cleanup.folder() + "/s", "3M 0+3M"), cleanup.folder(), unnamed_forbidden()
    process = slow_convert(cleanup, source, folder + "/t", **options)
    assert len(names_in(folder)) == 1 and HIDDEN.match(names_in(folder)[0]), names_in(folder)
    check_ok(ends(process))
    assert names_in(folder) == ["t"] and contents(folder + "/t") == contents(source)
    assert os.stat(folder + "/t").st_mode & 0o777 == 0o644


def test_hidden_name_stopped(cleanup):
    source, folder, options = make_source(cleanup), cleanup.folder(), unnamed_forbidden()
    for number, code in STOPS:
        process = slow_convert(cleanup, source, folder + "/t", **options)
        process.send_signal(number)
        check_fails(ends(process), code=code)
        assert names_in(folder) == []


def test_hidden_name_of_a_killed_run(cleanup):
    folder, options = cleanup.folder(), unnamed_forbidden()
    source = make_source(cleanup)
    small = write_layout(os.path.dirname(source) + "/small", "64K 0+64K")
    dead = slow_convert(cleanup, source, folder + "/t", **options)
    dead.kill()
    ends(dead)
    stale = names_in(folder)
    assert len(stale) == 1 and HIDDEN.match(stale[0]), stale
    wait_until_unlocked(folder + "/" + stale[0])
    # Files of others, and other names, stay.
    write_layout(folder + "/.tt.00000000.partial", "4K")
    alive = slow_convert(cleanup, source, folder + "/t", **options)
    during = names_in(folder)
    assert stale[0] not in during and len(during) == 2, during
    check_ok(run("convert", small, folder + "/t", **options))
    assert set(during) < set(names_in(folder)), "the file of a running process was removed"
    check_fails(ends(alive), "File exists")
    assert names_in(folder) == [".tt.00000000.partial", "t"]
    assert contents(folder + "/t") == contents(small)


def test_hidden_name_target_appears(cleanup):
    folder, options = cleanup.folder(), unnamed_forbidden()
    source = write_layout(cleanup.folder() + "/s", "3M 0+3M")
    process = slow_convert(cleanup, source, folder + "/t", **options)
    write_layout(folder + "/t", "1000 0+1000")
    check_fails(ends(process), folder + "/t", "File exists")
    assert names_in(folder) == ["t"] and contents(folder + "/t") == pattern(0, 1000)


def test_hidden_name_no_space(cleanup):
    folder, options = cleanup.tmpfs("4M"), unnamed_forbidden()
    check_fails(run("convert", make_source(cleanup), folder + "/t", **options), "No space left on device")
    assert names_in(folder) == []


def test_hidden_name_of_a_long_name(cleanup):
    folder, options = cleanup.folder(), unnamed_forbidden()
    source = write_layout(cleanup.folder() + "/s", "64K 0+64K")
    name = "n" * 255
    check_ok(run("convert", source, f"{folder}/{name}", **options))
    assert names_in(folder) == [name]


if __name__ == "__main__":
    tests = [value for name, value in list(globals().items()) if name.startswith("test_")]
    sys.exit(support.run_suite("signals", tests))
