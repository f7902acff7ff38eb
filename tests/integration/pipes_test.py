#!/usr/bin/env python3
"""Images through pipes: convert from and to "-", readers and writers that die, progress as JSON."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import support
from support import MIB, PLATTER, QEMU_IMG, check_fails, check_ok, contents, names_in, run, run_suite, sh, start, wait_until, write_layout

LAYOUT = "300M 0+3M 100M+1M 200M+64K 299M+1M"


def source(cleanup, layout=LAYOUT):
    folder = cleanup.folder()
    write_layout(folder + "/source", layout)
    return folder


def piped(folder, *words, data=None, name="source"):
    """Runs platter with a program's output as its standard input."""
    feeder = subprocess.Popen(["cat", f"{folder}/{name}"], stdout=subprocess.PIPE)
    try:
        return run(*words, stdin=feeder.stdout)
    finally:
        feeder.stdout.close()
        feeder.wait()


def saved(path, *words):
    """Runs platter with standard output through a pipe into a file."""
    with open(path, "wb") as file:
        keeper = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
        try:
            return run(*words, stdout=keeper.stdin)
        finally:
            keeper.stdin.close()
            assert keeper.wait() == 0


def compare(path, folder, *options):
    done = run("compare", *options, path, folder + "/source", binary=QEMU_IMG)
    assert done.code == 0, done
    assert done.out.endswith("Images are identical.\n"), done


def test_raw_in_makes_raw_images_with_holes(cleanup):
    folder = source(cleanup)
    check_ok(piped(folder, "convert", "-", folder + "/new"))
    assert contents(folder + "/new") == contents(folder + "/source")
    assert support.allocated(folder + "/new") < 8 * MIB
    check_ok(piped(folder, "convert", "-S", "0", "-", folder + "/full"))
    assert support.allocated(folder + "/full") >= 300 * MIB


def test_raw_in_makes_qcow2_images(cleanup):
    folder = source(cleanup)
    for number, options in enumerate(([], ["-c"], ["-o", "cluster_size=2M"], ["-o", "compat=0.10,cluster_size=4k"], ["-o", "extended_l2=on"])):
        new = f"{folder}/new{number}"
        check_ok(piped(folder, "convert", "-O", "qcow2", *options, "-", new))
        compare(new, folder)
        sh(QEMU_IMG, "check", new)
        assert json.loads(sh(QEMU_IMG, "info", "--output=json", new))["virtual-size"] == 300 * MIB


def test_odd_lengths_are_rounded_up_to_sectors(cleanup):
    folder = cleanup.folder()
    for length in (0, 1, 511, 512, MIB - 1, MIB, MIB + 1, 3 * MIB + 700):
        with open(folder + "/source", "wb") as file:
            file.write(support.pattern(0, length) if length else b"")
        padded = contents(folder + "/source") + bytes(-length % 512)
        check_ok(piped(folder, "convert", "-", folder + "/new"))
        assert contents(folder + "/new") == padded, length
        for options in ([], ["-c"]):
            check_ok(piped(folder, "convert", "-O", "qcow2", *options, "-", folder + "/new.qcow2"))
            check_ok(run("convert", folder + "/new.qcow2", folder + "/back"))
            assert contents(folder + "/back") == padded, (length, options)


def test_an_existing_target_is_filled_as_far_as_it_goes(cleanup):
    folder = source(cleanup, "2M 0+1M")
    write_layout(folder + "/larger", "3M 0+3M=2")
    check_ok(piped(folder, "convert", "-n", "-", folder + "/larger"))
    assert contents(folder + "/larger") == contents(folder + "/source") + support.pattern(0, 3 * MIB, 2)[2 * MIB :]
    write_layout(folder + "/smaller", "1M")
    check_fails(piped(folder, "convert", "-n", "-", folder + "/smaller"), "smaller", "more")


def test_raw_out_is_the_whole_disk(cleanup):
    folder = source(cleanup)
    sh(QEMU_IMG, "convert", "-O", "qcow2", folder + "/source", folder + "/image")
    check_ok(saved(folder + "/new", "convert", folder + "/image", "-"))
    assert contents(folder + "/new") == contents(folder + "/source")
    check_ok(run("convert", "-", folder + "/file", stdin=open(folder + "/source", "rb")))
    assert contents(folder + "/file") == contents(folder + "/source")


def test_qcow2_out_is_clean_once_saved(cleanup):
    folder = source(cleanup)
    for number, options in enumerate(([], ["-o", "cluster_size=512"], ["-o", "cluster_size=2M"], ["-o", "extended_l2=on"],
                                      ["-o", "compat=0.10"], ["-o", "refcount_bits=1"], ["-o", "refcount_bits=64"])):  # fmt: skip
        new = f"{folder}/new{number}"
        check_ok(saved(new, "convert", "-O", "qcow2", *options, folder + "/source", "-"))
        assert "No errors" in sh(QEMU_IMG, "check", new), options
        compare(new, folder)


def test_a_chain_becomes_one_image_on_the_way(cleanup):
    folder = source(cleanup)
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", "source", "-F", "raw", folder + "/top", "310M")
    check_ok(saved(folder + "/new", "convert", "-O", "qcow2", folder + "/top", "-"))
    sh(QEMU_IMG, "check", folder + "/new")
    sh(QEMU_IMG, "compare", folder + "/new", folder + "/top")


def test_huge_empty_disks_take_little(cleanup):
    folder = cleanup.folder()
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", folder + "/source", "8T")
    check_ok(saved(folder + "/new", "convert", "-O", "qcow2", folder + "/source", "-"))
    assert os.path.getsize(folder + "/new") < MIB
    sh(QEMU_IMG, "check", folder + "/new")


def test_a_pipe_of_the_shell_is_taken_by_its_name(cleanup):
    folder = source(cleanup, "5M 0+5M")
    done = subprocess.run(
        ["bash", "-c", '"$0" convert <(cat "$1/source") "$1/new" && "$0" convert "$1/new" >(cat >"$1/copy") && wait $!', PLATTER, folder],
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert contents(folder + "/new") == contents(folder + "/source")
    wait_until(lambda: contents(folder + "/copy") == contents(folder + "/source"), "the copy")


def test_a_reader_that_dies_is_an_error(cleanup):
    folder = source(cleanup)
    for options in ([], ["-O", "qcow2"]):
        process = cleanup.process(start("convert", *options, folder + "/source", "-"))
        process.stdout.read(1000)
        process.stdout.close()
        assert process.wait(20) == 1
        assert b"Broken pipe" in process.stderr.read()


def test_a_stopped_conversion_leaves_nothing(cleanup):
    folder = cleanup.folder()
    for options in ([], ["-O", "qcow2"]):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            process = cleanup.process(start("convert", *options, "-", folder + "/new", stdin=subprocess.PIPE))
            process.stdin.write(support.pattern(0, 3 * MIB))
            process.stdin.flush()
            time.sleep(0.3)
            process.send_signal(number)
            assert process.wait(20) == code
            assert names_in(folder) == [], names_in(folder)


def test_a_stopped_output_ends_soon(cleanup):
    folder = source(cleanup)
    process = cleanup.process(start("convert", folder + "/source", "-"))
    process.stdout.read(1000)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143


def test_a_full_disk_behind_standard_output_is_an_error(cleanup):
    folder = source(cleanup, "5M 0+5M")
    with open("/dev/full", "wb") as full:
        done = run("convert", folder + "/source", "-", stdout=full)
    assert done.code == 1 and "No space left" in done.err, done


def test_terminals_are_never_images(cleanup):
    folder = source(cleanup, "1M 0+1M")
    master, side = pty.openpty()
    try:
        check_fails(run("convert", folder + "/source", "-", stdout=side), "terminal")
        check_fails(run("convert", "-", folder + "/new", stdin=side), "terminal")
    finally:
        os.close(master)
        os.close(side)
    assert names_in(folder) == ["source"]


def test_what_can_not_go_in_order_is_refused(cleanup):
    folder = source(cleanup, "1M 0+1M")
    image = folder + "/source"
    for words, texts in (
        (["convert", "-c", "-O", "qcow2", image, "-"], "-c"),
        (["convert", "-n", image, "-"], "-n"),
        (["convert", "-C", image, "-"], "-C"),
        (["convert", "-r", "1M", image, "-"], "-r"),
        (["convert", "-O", "qcow2", "-o", "preallocation=full", image, "-"], "can't be streamed"),
        (["convert", "-O", "qcow2", "-o", "data_file=x", image, "-"], "can't be streamed"),
        (["convert", "-O", "qcow2", "-B", image, "-F", "raw", image, "-"], "-B"),
        (["convert", "-f", "qcow2", "-", folder + "/new"], "Only raw"),
        (["convert", "-l", "x", "-", folder + "/new"], "-l"),
        (["convert", "-", "-"], "from a pipe to a pipe"),
    ):
        with open(image, "rb") as file:
            check_fails(run(*words, stdin=file), texts)
    assert names_in(folder) == ["source"]


def test_a_format_in_a_pipe_is_not_taken_for_raw(cleanup):
    folder = source(cleanup, "1M 0+1M")
    sh(QEMU_IMG, "convert", "-O", "qcow2", folder + "/source", folder + "/image")
    check_fails(piped(folder, "convert", "-", folder + "/new", name="image"), "qcow2", "only raw")
    assert "new" not in names_in(folder)
    check_ok(piped(folder, "convert", "-f", "raw", "-", folder + "/new", name="image"))


def progress_of(*words, code=0, **options):
    reader, writer = os.pipe()
    try:
        done = run(*words, "--json-progress", writer, pass_fds=[writer], **options)
    finally:
        os.close(writer)
    with open(reader) as lines:
        events = [json.loads(line) for line in lines]
    assert done.code == code, done
    assert all("ended" not in event for event in events[:-1]), events
    assert events[-1]["exit_code"] == code, events
    return events


def test_progress_as_json_tells_the_whole_way(cleanup):
    folder = source(cleanup)
    events = progress_of("convert", folder + "/source", folder + "/new")
    assert events[-1]["ended"] == "complete" and events[-1]["done"] == events[-1]["total"] > 0, events
    assert {"operation", "done", "total", "rate", "elapsed"} <= events[0].keys()
    assert [event["done"] for event in events] == sorted(event["done"] for event in events)
    events = progress_of("compare", folder + "/source", folder + "/new")
    assert events[-1]["operation"] == "compare" and events[-1]["ended"] == "complete"
    sh(QEMU_IMG, "convert", "-O", "qcow2", folder + "/source", folder + "/image")
    assert progress_of("amend", "-o", "compat=0.10", folder + "/image")[-1]["ended"] == "complete"


def test_progress_as_json_tells_failures(cleanup):
    folder = cleanup.folder()
    last = progress_of("convert", folder + "/none", folder + "/new", code=1)[-1]
    assert last["ended"] == "failed" and "No such file" in last["error"], last
    assert progress_of("convert", "-S", "x", folder + "/none", folder + "/new", code=1)[-1]["ended"] == "failed"


def test_progress_as_json_tells_a_stop(cleanup):
    folder = cleanup.folder()
    reader, writer = os.pipe()
    process = cleanup.process(start("convert", "--json-progress", writer, "-", folder + "/new", stdin=subprocess.PIPE, pass_fds=[writer]))
    os.close(writer)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    with open(reader) as lines:
        last = json.loads(lines.read().splitlines()[-1])
    assert last["ended"] == "cancelled" and last["exit_code"] == 130, last
    assert names_in(folder) == []


def test_nobody_has_to_read_the_progress(cleanup):
    folder = source(cleanup, "1M 0+1M")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        check_ok(run("convert", "--json-progress", writer, folder + "/source", folder + "/new", pass_fds=[writer]))
    finally:
        os.close(writer)


def test_the_descriptor_has_to_be_one_that_is_written_to(cleanup):
    folder = source(cleanup, "1M")
    for word in ("9", "x", "-1", ""):
        check_fails(run("convert", "--json-progress", word, folder + "/source", folder + "/new"), f"'{word}'")
    with open(folder + "/source", "rb") as file:
        check_fails(run("convert", "--json-progress", file.fileno(), folder + "/source", folder + "/new", pass_fds=[file.fileno()]), "--json-progress")


if __name__ == "__main__":
    sys.exit(run_suite("pipes", [test for name, test in list(globals().items()) if name.startswith("test_")]))
