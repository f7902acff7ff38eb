#!/usr/bin/env python3
"""platter io beyond what it prints: requests in flight together, the prompt, signals, names, locks."""

import os
import re
import signal
import subprocess
import sys
import time

from support import KIB, PLATTER, QEMU_IMG, QEMU_IO, Skip, names_in, run_suite, sh, wait_until

READS = [word for place in range(8) for word in ("-c", f"aio_read -q {place * 64}k 4k")]


def image(cleanup, size=1 << 20):
    path = cleanup.folder() + "/a"
    with open(path, "wb") as file:
        file.write(b"\1" * size)
    return path


def io(*words, **options):
    return subprocess.run([PLATTER, "io", *words], capture_output=True, text=True, timeout=60, **options)


def start(*words):
    """At the prompt."""
    return subprocess.Popen([PLATTER, "io", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def type_line(process, line):
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()


def read_until(process, text):
    """What is printed, up to the text and beyond."""
    os.set_blocking(process.stdout.fileno(), False)
    seen = b""

    def there():
        nonlocal seen
        seen += process.stdout.read() or b""
        return text in seen

    wait_until(there, f"{text!r} is printed")
    return seen


def slow_reads(path, *commands):
    """The most reads that were under way at once, each of which takes 200 ms."""
    trace = path + ".strace"
    words = ["strace", "-f", "-tt", "-T", "-o", trace, "-e", "trace=pread64,preadv", "-e", "inject=pread64,preadv:delay_enter=200000"]
    done = subprocess.run(
        [*words, PLATTER, "io", "-f", "raw", "-i", "threads", *commands, path], capture_output=True, text=True, timeout=120,
        env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"},  # leaks can't be looked for under strace
    )
    if "ptrace" in done.stderr.lower():
        raise Skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    with open(trace) as file:
        lines = [line for line in file if "pread" in line]
    under_way, most = set(), 0
    for line in lines:
        thread = line.split()[0]
        if "unfinished" in line:
            under_way.add(thread)
        elif "resumed" in line:
            under_way.discard(thread)
        most = max(most, len(under_way))
    return most


def test_requests_are_in_flight_together(cleanup):
    most = slow_reads(image(cleanup), *READS, "-c", "aio_flush")
    assert most >= 6, f"{most} at once"


def test_requests_that_wait_are_not(cleanup):
    most = slow_reads(image(cleanup), *(word.replace("aio_read", "read") for word in READS))
    assert most <= 1, f"{most} at once"


def test_requests_finish_while_a_line_is_awaited(cleanup):
    process = start("-f", "raw", image(cleanup))
    cleanup.callback(process.kill)
    read_until(process, b"platter io> ")
    type_line(process, "aio_read 0 4k")
    read_until(process, b"read 4096/4096 bytes at offset 0\n")
    type_line(process, "length")
    read_until(process, b"1 MiB\n")
    process.stdin.close()
    assert process.wait(20) == 0


def test_more_requests_than_may_be_in_flight_all_finish(cleanup):
    path = image(cleanup)
    lines = "".join(f"aio_write -P {n % 255 + 1} {n % 2048 * 512} 512\n" for n in range(3000)) + "aio_flush\nlength\n"
    done = io("-f", "raw", path, input=lines)
    assert done.returncode == 0 and done.stdout.count("wrote 512/512") == 3000, done.stderr
    sh(QEMU_IO, "-f", "raw", "-r", "-c", f"read -P {2048 % 255 + 1} 0 512", path)


def test_what_is_in_flight_finishes_before_the_end(cleanup):
    path = image(cleanup)
    for end in ([], ["-c", "quit"], ["-c", "close"]):
        done = io("-f", "raw", "-c", "aio_write -P 9 0 512k", *end, path)
        assert done.returncode == 0 and "wrote 524288/524288" in done.stdout, done
    sh(QEMU_IO, "-f", "raw", "-r", "-c", "read -P 9 0 512k", path)


def test_a_signal_at_the_prompt_ends_it(cleanup):
    for number in (signal.SIGINT, signal.SIGTERM):
        process = start("-f", "raw", image(cleanup))
        cleanup.callback(process.kill)
        read_until(process, b"> ")
        process.send_signal(number)
        process.wait(20)
        err = process.stderr.read()
        assert process.returncode == 128 + number, (process.returncode, err)
        assert re.fullmatch(rb"platter: (interrupted|terminated)\n", err), err


def test_a_signal_ends_a_sleep_and_closes_the_image(cleanup):
    path = cleanup.folder() + "/a"
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", path, "1M")
    process = start(path)
    cleanup.callback(process.kill)
    type_line(process, "write -P 5 0 64k")
    read_until(process, b"wrote 65536")
    type_line(process, "sleep 1000000")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    sh(QEMU_IO, "-r", "-c", "read -P 5 0 64k", path)
    sh(QEMU_IMG, "check", "-q", path)


def test_the_verb_says_its_own_name(cleanup):
    path = image(cleanup)
    done = io("-r", "-f", "raw", "-c", "write 0 1", path)
    assert (done.returncode, done.stderr) == (1, "platter: Block node is read-only\n"), done
    assert io("-f", "raw", path, input="length\n").stdout == "platter io> 1 MiB\nplatter io> "


def test_an_overlay_leaves_nothing_behind(cleanup):
    path, place = image(cleanup), cleanup.folder()
    env = os.environ | {"TMPDIR": place}
    done = io("-s", "-f", "raw", "-c", "write -q -P 7 0 64k", "-c", "read -P 7 0 64k", path, env=env)
    assert done.returncode == 0, done
    assert names_in(place) == []
    sh(QEMU_IO, "-r", "-f", "raw", "-c", "read -P 1 0 64k", path)
    done = io("-s", "-f", "raw", "-c", "length", path, env=os.environ | {"TMPDIR": place + "/none"})
    assert done.returncode == 1 and place in done.stderr, done


def test_a_reopen_that_fails_leaves_the_image_open(cleanup):
    path = image(cleanup)
    process = start("-f", "raw", path)
    cleanup.callback(process.kill)
    type_line(process, "length")
    read_until(process, b"1 MiB")
    os.rename(path, path + ".moved")
    os.symlink(path + ".moved", path)
    os.truncate(path, 512 * KIB)
    type_line(process, "reopen -c directsync")
    type_line(process, "length")
    read_until(process, b"512 KiB")
    process.stdin.close()
    assert process.wait(20) == 0


def test_another_writer_of_qcow2_is_refused(cleanup):
    path = cleanup.folder() + "/a"
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", path, "1M")
    process = start(path)
    cleanup.callback(process.kill)
    read_until(process, b"> ")
    done = io("-c", "length", path)
    assert done.returncode == 1 and "Is another process using the image" in done.stderr, done
    assert io("-r", "-U", "-c", "length", path).stdout == "1 MiB\n"
    process.stdin.close()
    process.wait(20)


def test_errors_of_the_device_say_where(cleanup):
    done = io("-f", "raw", "-c", "write 0 4k", "/dev/null")
    assert done.returncode == 1 and "/dev/null" in done.stderr, done
    path = image(cleanup)
    done = subprocess.run(
        ["bash", "-c", f'ulimit -f 1024; "$0" io -f raw -c "truncate 2M" -c "write 1536k 4k" {path}', PLATTER], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and path in done.stderr and "File too large" in done.stdout + done.stderr, done


TESTS = [test for name, test in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(run_suite("io", TESTS))
