#!/usr/bin/env python3
"""First contact: what --help, --version and the manual say, and what mistyped words are answered with."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import seccomp
from help_text import options_of, verbs
from support import PLATTER, QEMU_IMG, Skip, check_ok, run, run_suite, sh, text_of

# Typed, and what is suggested.
SUGGESTIONS = [
    ("convrt a b", "Command not found: convrt. Did you mean 'convert'?"),
    ("snapshots a", "Command not found: snapshots. Did you mean 'snapshot'?"),
    ("INFO a", "Command not found: INFO"),
    ("frobnicate", "Command not found: frobnicate"),
    ("info --outptu json a", "unrecognized option '--outptu'. Did you mean '--output'?"),
    ("info --outptu=json a", "unrecognized option '--outptu=json'. Did you mean '--output'?"),
    ("convert --target-iszero a b", "unrecognized option '--target-iszero'. Did you mean '--target-is-zero'?"),
    ("info --zzz a", "unrecognized option '--zzz'"),
    ("info -Z a", "unrecognized option '-Z'"),
    ("--verison", "unrecognized option '--verison'. Did you mean '--version'?"),
    ("--zzz", "unrecognized option '--zzz'"),
]


def pages():
    """Arguments for --generate, of every manual page."""
    return [("man",), *(("man", verb) for verb in verbs())]


def squeezed(text):
    return re.sub(r"\s+", " ", text)


def test_suggestions(cleanup):
    for line, expected in SUGGESTIONS:
        done = run(*line.split())
        assert (done.code, done.out) == (1, ""), done
        assert done.err == f"platter: {expected}\nTry 'platter --help' for more information\n", done


def test_suggests_names_of_create_options(cleanup):
    folder = cleanup.folder()
    sh(QEMU_IMG, "create", "-f", "qcow2", folder + "/a", "1M")
    for line in ("create -f qcow2 -o clustersize=64k b 1M", "convert -O qcow2 -o clustersize=64k a b",
                 "measure -O qcow2 -o clustersize=64k a"):
        done = run(*line.split(), cwd=folder)
        assert done.code == 1 and "Invalid parameter 'clustersize'. Did you mean 'cluster_size'?\n" in done.err, done
    done = run("amend", "-o", "lazy_refcount=on", "a", cwd=folder)
    assert done.err == "platter: Invalid parameter 'lazy_refcount'. Did you mean 'lazy_refcounts'?\n", done


def test_no_suggestions_in_qemu_imgs_place(cleanup):
    link = cleanup.folder() + "/qemu-img"
    os.symlink(PLATTER, link)
    lines = [line for line, _ in SUGGESTIONS] + ["create -f qcow2 -o clustersize=64k b 1M"]
    for line in lines:
        ours, theirs = (run(*line.split(), binary=tool) for tool in (link, QEMU_IMG))
        assert str(ours) == str(theirs), (ours, theirs)


def test_version(cleanup):
    done = check_ok(run("--version"))
    first, *others = done.out.splitlines()
    assert re.fullmatch(r"platter version \d+\.\d+\.\d+", first), done
    text = "\n".join(others)
    for part in ("Formats: raw, qcow2", "io_uring", "Libraries: zlib 1.", "libdeflate", "ISA-L", "zstd 1.", "fmt "):
        assert part in text, (part, done)
    assert run("-V").out == done.out


def test_version_tells_that_io_uring_is_forbidden(cleanup):
    if not seccomp.is_known_machine():
        raise Skip("no seccomp filter for this machine")
    done = run("--version", preexec_fn=seccomp.forbid_io_uring)
    assert "Input and output: threads (io_uring is not to be had here)" in done.out, done


def test_help_has_every_verb(cleanup):
    listed = re.findall(r"^  (\w+) ", check_ok(run("--help")).out, re.MULTILINE)
    assert listed == verbs(), listed
    for verb in verbs():
        text = check_ok(run(verb, "--help")).out
        assert text.startswith(f"Usage: platter {verb} [OPTIONS]"), text
        assert max(map(len, text.splitlines())) <= 120, text


def test_examples_name_options_that_there_are(cleanup):
    for verb in verbs():
        text = run(verb, "--help").out.partition("\nExamples:\n")[2]
        for line in re.findall(r"^  platter (.*)$", text, re.MULTILINE):
            words = shlex.split(line)
            options = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
            assert words[0] == verb and options <= options_of(verb), line


def test_manual_has_no_faults(cleanup):
    for tool in ("mandoc", "man"):
        if not shutil.which(tool):
            raise Skip(f"no {tool}")
    for words in pages():
        page = cleanup.folder() + "/page.1"
        with open(page, "w") as file:
            file.write(check_ok(run("--generate", *words)).out)
        for check in (["mandoc", "-Tlint", "-Wwarning", page], ["man", "--warnings", "--local-file", page]):
            done = subprocess.run(check, capture_output=True, env=os.environ | {"LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
            faults = text_of(done.stderr) + (text_of(done.stdout) if check[0] == "mandoc" else "")
            assert done.returncode == 0 and not faults, f"{words}: {faults}"


def test_manual_says_what_help_says(cleanup):
    if not shutil.which("mandoc"):
        raise Skip("no mandoc")
    for verb in verbs():
        page = cleanup.folder() + "/page.1"
        with open(page, "w") as file:
            file.write(sh(PLATTER, "--generate", "man", verb))
        shown = squeezed(re.sub(".\b", "", sh("mandoc", "-Tascii", "-Owidth=200", page)))
        for line in sh(PLATTER, verb, "--help").split("\n\n", 1)[1].splitlines():
            for part in re.split(r"  +", line.strip()):
                assert part in shown or part.endswith(":"), f"{verb}: {part!r} is not in: {shown}"


def test_generate_refuses_what_it_does_not_know(cleanup):
    for words, expected in (
        (["nothing"], "Can't generate 'nothing': man, bash, zsh, fish or verbs"),
        (["man", "nothing"], "Command not found: nothing"),
        (["bash", "info"], "Unexpected argument: info"),
    ):
        done = run("--generate", *words)
        assert (done.code, done.out, done.err) == (1, "", f"platter: {expected}\n"), done
    for words in ([], ["man", "info", "map"]):
        assert run("--generate", *words).code == 1


if __name__ == "__main__":
    sys.exit(run_suite("help", [value for name, value in list(globals().items()) if name.startswith("test_")]))
