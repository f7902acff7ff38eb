#!/usr/bin/env python3
"""What may be opened because an image says so: --no-backing, --backing-under, --formats, --max-memory."""

import os
import sys

from support import QEMU_IMG, check_fails, check_ok, run, run_suite, sh, write_layout


def chain(cleanup):
    """top (qcow2) -> in/middle (qcow2) -> out/bottom (raw); and an image with a data file."""
    folder = cleanup.folder()
    for name in ("in", "out"):
        os.mkdir(f"{folder}/{name}")
    write_layout(f"{folder}/out/bottom", "1M 0+64K")
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", "../out/bottom", "-F", "raw", f"{folder}/in/middle")
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-b", "in/middle", "-F", "qcow2", f"{folder}/top")
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", f"data_file={folder}/out/data", f"{folder}/split", "1M")
    return folder


def readers(folder, image):
    """Commands that open all that an image stands on."""
    path = f"{folder}/{image}"
    return (
        ["map", path], ["map", "--output=json", path], ["compare", path, path], ["convert", path, folder + "/new"],
        ["convert", "-O", "qcow2", path, folder + "/new"], ["measure", path], ["bench", "-c", "1", path],
    )  # fmt: skip


def test_no_backing_names_the_reference(cleanup):
    folder = chain(cleanup)
    for image, reference in (("top", "'in/middle'"), ("split", "out/data'")):
        for verb, *rest in readers(folder, image):
            check_fails(run(verb, "--no-backing", *rest), reference, code=2 if verb == "compare" else 1)
    assert not os.path.exists(folder + "/new")


def test_no_backing_leaves_images_alone_that_need_none(cleanup):
    folder = chain(cleanup)
    check_ok(run("map", "--no-backing", folder + "/out/bottom"))
    check_ok(run("info", "--no-backing", folder + "/top"))
    check_ok(run("check", "--no-backing", folder + "/top"))
    check_ok(run("snapshot", "-l", "--no-backing", folder + "/out/bottom"))


def test_what_the_user_names_as_backing_is_no_reference(cleanup):
    folder = chain(cleanup)
    options = f"driver=qcow2,file.filename={folder}/top,backing.driver=raw,backing.file.filename={folder}/out/bottom"
    check_ok(run("map", "--no-backing", "--image-opts", options))
    check_ok(run("map", "--backing-under", folder + "/in", "--image-opts", options))
    half = f"driver=qcow2,file.filename={folder}/top,backing.driver=qcow2"
    check_fails(run("map", "--no-backing", "--image-opts", half), "'in/middle'")


def test_folders_hold_for_the_whole_chain(cleanup):
    folder = chain(cleanup)
    check_fails(run("map", "--backing-under", folder + "/in", folder + "/top"), "out/bottom", "lies outside")
    check_fails(run("map", "--backing-under", folder + "/out", folder + "/top"), "in/middle", "lies outside")
    check_ok(run("map", "--backing-under", folder + "/in", "--backing-under", folder + "/out", folder + "/top"))
    check_ok(run("map", "--backing-under", folder, folder + "/top"))
    check_fails(run("map", "--backing-under", folder + "/in", folder + "/split"), "out/data", "lies outside")
    check_fails(run("map", "--backing-under", folder + "/none", folder + "/top"), "lies outside")


def test_a_link_is_judged_by_where_it_leads(cleanup):
    folder = chain(cleanup)
    os.rename(folder + "/in/middle", folder + "/out/middle")
    os.symlink("../out/middle", folder + "/in/middle")
    check_fails(run("map", "--backing-under", folder + "/in", folder + "/top"), "in/middle", "lies outside")


def test_a_folder_whose_name_begins_alike_is_another(cleanup):
    folder = chain(cleanup)
    os.mkdir(folder + "/i")
    check_fails(run("map", "--backing-under", folder + "/i", folder + "/top"), "in/middle", "lies outside")


def test_info_follows_a_chain_under_the_same_rules(cleanup):
    folder = chain(cleanup)
    check_fails(run("info", "--backing-chain", "--no-backing", folder + "/top"), "in/middle")
    check_fails(run("info", "--backing-chain", "--backing-under", folder + "/in", folder + "/top"), "out/bottom")
    check_ok(run("info", "--backing-chain", "--backing-under", folder, folder + "/top"))
    check_fails(run("info", "--backing-chain", "--formats", "qcow2", folder + "/top"), "out/bottom", "format 'raw'")


def test_formats_name_the_file_that_has_another(cleanup):
    folder = chain(cleanup)
    check_fails(run("map", "--formats", "qcow2", folder + "/top"), "out/bottom", "format 'raw'")
    check_fails(run("map", "--formats", "raw", folder + "/top"), "/top", "format 'qcow2'")
    check_ok(run("map", "--formats", "raw,qcow2", folder + "/top"))
    check_fails(run("map", "--formats", "qcow2", folder + "/out/bottom"), "out/bottom", "format 'raw'")
    check_fails(run("map", "--formats", "qcow2", "-f", "raw", folder + "/top"), "format 'raw'")
    check_fails(run("check", "--formats", "raw", folder + "/top"), "/top", "format 'qcow2'")


def test_create_looks_at_its_backing_chain_under_them(cleanup):
    folder = chain(cleanup)
    words = ["create", "-q", "-f", "qcow2", "-b", folder + "/top", "-F", "qcow2", folder + "/new"]
    done = run(words[0], "--no-backing", *words[1:])
    assert done.code == 1 and "'in/middle'" in done.err, done
    assert not os.path.exists(folder + "/new")
    check_ok(run(*words))


def test_verbs_that_write_obey_too(cleanup):
    folder = chain(cleanup)
    for words in (
        ["resize", folder + "/top", "2M"], ["snapshot", "-c", "x", folder + "/top"], ["bitmap", "--add", folder + "/top", "b"],
        ["amend", "-o", "lazy_refcounts=on", folder + "/top"], ["bench", "-w", "-c", "1", folder + "/top"],
        ["convert", "-n", "-O", "qcow2", folder + "/out/bottom", folder + "/top"],
    ):  # fmt: skip
        done = run(words[0], "--no-backing", *words[1:])
        assert done.code == 1 and "in/middle" in done.err, done


def test_wrong_flags_are_refused(cleanup):
    folder = chain(cleanup)
    image = folder + "/top"
    check_fails(run("map", "--formats", "vmdk", image), "'vmdk'")
    check_fails(run("map", "--formats", "", image), "''")
    check_fails(run("map", "--max-memory", "1K", image), "'1K'")
    check_fails(run("map", "--max-memory", "much", image), "'much'")
    assert run("map", "--no-back", image).code == 1, "they have no short forms"
    assert run("info", "--form=qcow2", image).code == 0, "and take none from others"


def test_little_memory_is_enough_for_large_images(cleanup):
    folder = cleanup.folder()
    image = folder + "/large"
    sh(QEMU_IMG, "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", image, "64G")
    check_ok(run("map", "--output=json", "--max-memory", "1M", image))
    check_ok(run("check", "--max-memory", "4M", image))
    check_ok(run("resize", "-q", "--max-memory", "2M", "-f", "qcow2", image, "65G"))


if __name__ == "__main__":
    sys.exit(run_suite("policy", [test for name, test in list(globals().items()) if name.startswith("test_")]))
