#!/usr/bin/env python3
"""LUKS images: between platter, QEMU's tools and cryptsetup, in every direction, and what is refused."""

import json
import os
import subprocess
import sys

from support import KIB, MIB, PLATTER, QEMU_IMG, QEMU_IO, Skip, pattern, run_suite

SIZE = 3 * MIB
PASS = ("--object", "secret,id=s,data=abc")
CIPHERS = [
    ("aes-256", "xts", "plain64", None),
    ("aes-128", "xts", "plain", None),
    ("aes-256", "cbc", "essiv", "sha256"),
    ("aes-128", "cbc", "plain64", None),
    ("aes-128", "ctr", "plain64", None),
    ("aes-256", "ecb", "plain", None),
    ("serpent-256", "xts", "plain64", None),
    ("serpent-128", "cbc", "essiv", "sha256"),
    ("twofish-256", "xts", "plain64", None),
    ("twofish-128", "cbc", "plain64", None),
    ("cast5-128", "cbc", "plain64", None),
]


def call(*words, good=True, tool=None):
    supp = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/vm/lsan.supp"  # OpenSSL at a thread's end
    environment = dict(os.environ, LC_ALL="C", LSAN_OPTIONS=f"suppressions={supp}:print_suppressions=0")
    done = subprocess.run([*(tool or [PLATTER]), *words], capture_output=True, text=True, timeout=120,
                          check=False, env=environment)
    assert not good or done.returncode == 0, (words, done)
    return done


def qemu_img(*words, good=True):
    for _ in range(10):  # counting time fails now and then on a virtual machine
        done = call(*words, good=False, tool=[QEMU_IMG])
        if "accurate CPU usage" not in done.stderr:
            break
    assert not good or done.returncode == 0, (words, done)
    return done


def cryptsetup(*words, data=b"abc"):
    try:
        done = subprocess.run(["cryptsetup", "-q", *words], input=data, capture_output=True, timeout=120, check=False)
    except FileNotFoundError:
        raise Skip("needs cryptsetup-bin") from None
    assert done.returncode == 0, (words, done)


def node(path, secret="s"):
    return f"driver=luks,file.filename={path},key-secret={secret}"


def options_of(cipher):
    alg, mode, generator, digest = cipher
    text = f"key-secret=s,iter-time=10,cipher-alg={alg},cipher-mode={mode},ivgen-alg={generator}"
    return text + (f",ivgen-hash-alg={digest}" if digest else "")


def raw_file(folder, name="plain", size=SIZE):
    path = f"{folder}/{name}"
    with open(path, "wb") as file:
        file.write(pattern(0, size // 3))
        file.truncate(size)
        file.seek(size - 100 * KIB)
        file.write(pattern(7, 100 * KIB))
    return path


def same(first, second):
    with open(first, "rb") as one, open(second, "rb") as other:
        return one.read() == other.read()


def test_what_platter_writes_qemu_reads(cleanup):
    folder = cleanup.folder()
    plain = raw_file(folder)
    for cipher in CIPHERS:
        image = f"{folder}/image.luks"
        call("convert", *PASS, "-f", "raw", "-O", "luks", "-o", options_of(cipher), plain, image)
        qemu_img("convert", *PASS, "--image-opts", node(image), "-O", "raw", f"{folder}/back")
        assert same(plain, f"{folder}/back"), cipher
        with open(image, "rb") as file:
            assert pattern(0, 4 * KIB) not in file.read(), cipher
        os.unlink(image)


def test_what_qemu_writes_platter_reads(cleanup):
    folder = cleanup.folder()
    plain = raw_file(folder)
    for cipher in CIPHERS:
        image = f"{folder}/image.luks"
        qemu_img("convert", *PASS, "-f", "raw", "-O", "luks", "-o", options_of(cipher), plain, image)
        call("convert", *PASS, "--image-opts", node(image), "-O", "raw", f"{folder}/back")
        assert same(plain, f"{folder}/back"), cipher
        compared = call("compare", *PASS, "--image-opts", node(image), f"driver=raw,file.filename={plain}")
        assert compared.stdout == "Images are identical.\n", compared
        os.unlink(image)


def test_both_write_to_one_image(cleanup):
    folder = cleanup.folder()
    image = f"{folder}/image.luks"
    call("create", "-q", *PASS, "-f", "luks", "-o", "key-secret=s,iter-time=10", image, "1M")
    call("io", *PASS, "-c", "write -P 1 0 64k", "-c", "write -P 2 100000 1000", "--image-opts", node(image))
    done = call(*PASS, "-c", "read -P 1 0 64k", "-c", "read -P 2 100000 1000", "-c", "write -P 3 200000 5000",
                "--image-opts", node(image), tool=[QEMU_IO])
    assert "failed" not in done.stdout, done
    done = call("io", *PASS, "-c", "read -P 3 200000 5000", "-c", "read -P 1 0 64k", "-c", "read -P 2 100000 1000",
                "--image-opts", node(image))
    assert "failed" not in done.stdout, done


def test_cryptsetup_reads_its_passphrase_and_platter_its_data(cleanup):
    folder = cleanup.folder()
    plain = raw_file(folder)
    kinds = [("luks1", []), ("luks2", []), ("luks2", ["--sector-size", "4096"])]
    for kind, more in kinds:
        image = f"{folder}/image.luks"
        with open(image, "wb") as file:
            file.truncate(16 * MIB + SIZE if kind == "luks2" else 2 * MIB + SIZE)
        cryptsetup("luksFormat", "--type", kind, *more, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", image, "-")
        found = json.loads(call("info", "--output=json", image).stdout)
        assert found["virtual-size"] == SIZE and found["encrypted"] and found["format"] == "luks", found
        call("convert", *PASS, "-n", "-f", "raw", "--target-image-opts", plain, node(image))
        call("convert", *PASS, "--image-opts", node(image), "-O", "raw", f"{folder}/back")
        assert same(plain, f"{folder}/back"), kind
        if kind == "luks1":
            qemu_img("convert", *PASS, "--image-opts", node(image), "-O", "raw", f"{folder}/back2")
            assert same(plain, f"{folder}/back2")
        # To a size that larger sectors do not divide: what resize says is what the next one finds.
        call("resize", "-q", "--shrink", *PASS, "--image-opts", node(image), str(MIB + 512))
        found = json.loads(call("info", "--output=json", image).stdout)
        sector = found["format-specific"]["data"].get("sector-size", 512)
        assert found["virtual-size"] == MIB + sector, (kind, more, found)
        assert sector == 4096 or not more, found
        os.unlink(image)


def test_cryptsetup_knows_what_platter_makes(cleanup):
    folder = cleanup.folder()
    image = f"{folder}/image.luks"
    call("create", "-q", *PASS, "-f", "luks", "-o", "key-secret=s,iter-time=10", image, "1M")
    cryptsetup("luksOpen", "--test-passphrase", "--key-file", "-", image)
    cryptsetup("luksUUID", image)


def test_a_header_may_be_detached(cleanup):
    folder = cleanup.folder()
    header, image = f"{folder}/header", raw_file(folder, "image")
    cryptsetup("luksFormat", "--type", "luks1", "--header", header, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations",
               "1000", image, "-")
    whole = node(image) + f",header.driver=file,header.filename={header}"
    call("io", *PASS, "-c", "write -P 5 4096 4096", "-c", "read -P 5 4096 4096", "--image-opts", whole)
    with open(image, "rb") as file:
        file.seek(4096)
        assert file.read(4096) not in (b"\5" * 4096, pattern(4096, 4096))


def test_info_is_qemus(cleanup):
    folder = cleanup.folder()
    image = f"{folder}/image.luks"
    for cipher in CIPHERS[:3]:
        qemu_img("create", "-q", *PASS, "-f", "luks", "-o", options_of(cipher), image, "1M")
        for words in (["info", image], ["info", "--output=json", image], ["info", *PASS, "--image-opts", node(image)]):
            assert call(*words).stdout == qemu_img(*words).stdout, words
        words = ["map", "--output=json", *PASS, "--image-opts", node(image)]
        assert call(*words).stdout == qemu_img(*words).stdout
        os.unlink(image)


def test_errors_are_qemus(cleanup):
    folder = cleanup.folder()
    image, new = f"{folder}/image.luks", f"{folder}/new.luks"
    qemu_img("create", "-q", *PASS, "-f", "luks", "-o", "key-secret=s,iter-time=10", image, "1M")
    wrong = ("--object", "secret,id=w,data=wrong")
    cases = [
        ["map", image],
        ["map", *PASS, "--image-opts", node(image)],
        ["map", *PASS, *wrong, "--image-opts", node(image, "w")],
        ["map", *PASS, "--image-opts", node(image, "nosuch")],
        ["map", *PASS, "--image-opts", node(image) + ",foo=1"],
        ["create", "-q", "-f", "luks", new, "1M"],
        ["create", "-q", "-f", "luks", "-o", "key-secret=s", new, "1M"],
        ["create", "-q", *PASS, "-f", "luks", "-o", "key-secret=s,cipher-alg=foo", new, "1M"],
        ["create", "-q", *PASS, "-f", "luks", "-o", "key-secret=s,foo=1", new, "1M"],
        ["create", "-q", *PASS, "-f", "luks", "-b", image, new],
        ["create", "-f", "luks", "-o", "help"],
        ["convert", "-f", "raw", "-O", "luks", "/etc/passwd", new],
        ["convert", *PASS, "-f", "raw", "-O", "luks", "-o", "key-secret=t", "/etc/passwd", new],
        ["measure", "-O", "luks", "--size", "1M"],
        ["measure", *PASS, "-O", "luks", "-o", "key-secret=s", "--size", "1M"],
        ["amend", "-f", "luks", "-o", "help"],
    ]
    for words in cases:
        ours, theirs = call(*words, good=False), qemu_img(*words, good=False)
        clean = "\n".join(line for line in ours.stderr.splitlines() if "data= shows" not in line)
        assert ours.returncode == theirs.returncode and ours.stdout == theirs.stdout, (words, ours, theirs)
        assert clean.replace("platter:", "qemu-img:").strip() == theirs.stderr.strip(), (words, clean, theirs.stderr)
        assert not os.path.exists(new), words


def test_key_slots_are_amended_as_qemu_amends_them(cleanup):
    folder = cleanup.folder()
    image = f"{folder}/image.luks"
    more = (*PASS, "--object", "secret,id=n,data=new", "--object", "secret,id=w,data=wrong")
    qemu_img("create", "-q", *PASS, "-f", "luks", "-o", "key-secret=s,iter-time=10", image, "1M")
    refused = [
        "foo=1", "iter-time=10", "state=active", "state=active,new-secret=zz", "state=active,new-secret=n,old-secret=s",
        "state=active,new-secret=n,keyslot=8", "state=active,new-secret=n,keyslot=0", "state=foo", "state=inactive",
        "state=inactive,new-secret=n", "state=inactive,iter-time=10,old-secret=s", "state=inactive,old-secret=w",
        "state=inactive,keyslot=5", "state=inactive,keyslot=9", "state=inactive,keyslot=0", "state=inactive,old-secret=s",
        "state=inactive,keyslot=1,old-secret=w",
    ]
    for options in refused:
        words = ["amend", *more, "-o", options, "--image-opts", node(image)]
        ours, theirs = call(*words, good=False), qemu_img(*words, good=False)
        clean = "\n".join(line for line in ours.stderr.splitlines() if "data= shows" not in line)
        if options == "foo=1":
            clean = clean.partition("; ")[0]
        assert ours.returncode == theirs.returncode == 1, (options, ours, theirs)
        assert clean.replace("platter:", "qemu-img:").strip() == theirs.stderr.strip(), (options, clean, theirs.stderr)
    call("amend", *more, "-o", "state=active,new-secret=n,iter-time=10", "--image-opts", node(image))
    qemu_img("map", "--output=json", *more, "--image-opts", node(image, "n"))
    call("amend", *more, "-o", "state=inactive,old-secret=s", "--image-opts", node(image, "n"))
    assert "Invalid password" in qemu_img("map", *more, "--image-opts", node(image), good=False).stderr
    assert "Invalid password" in call("map", *more, "--image-opts", node(image), good=False).stderr
    qemu_img("amend", *more, "-o", "state=active,new-secret=s,iter-time=10", "--image-opts", node(image, "n"))
    call("map", "--output=json", *more, "--image-opts", node(image))


def test_sizes_change(cleanup):
    folder = cleanup.folder()
    image = f"{folder}/image.luks"
    call("create", "-q", *PASS, "-f", "luks", "-o", "key-secret=s,iter-time=10", image, "1M")
    call("resize", *PASS, "--image-opts", node(image), "2M")
    assert json.loads(qemu_img("info", "--output=json", image).stdout)["virtual-size"] == 2 * MIB
    call("resize", *PASS, "--shrink", "--image-opts", node(image), "1M")
    assert json.loads(call("info", "--output=json", image).stdout)["virtual-size"] == MIB


def test_qcow2_over_luks(cleanup):
    folder = cleanup.folder()
    image, overlay = f"{folder}/base.luks", f"{folder}/top.qcow2"
    call("convert", *PASS, "-f", "raw", "-O", "luks", "-o", "key-secret=s,iter-time=10", raw_file(folder), image)
    qemu_img("create", "-q", "-f", "qcow2", "-u", "-b", image, "-F", "luks", overlay, str(SIZE))
    named = f"driver=qcow2,file.filename={overlay},backing.key-secret=s"
    call("convert", *PASS, "--image-opts", named, "-O", "raw", f"{folder}/back")
    assert same(f"{folder}/plain", f"{folder}/back")
    done = call("convert", "-O", "raw", overlay, f"{folder}/none", good=False)
    assert "Parameter 'key-secret' is required for cipher" in done.stderr and not os.path.exists(f"{folder}/none"), done


def test_a_failed_conversion_leaves_nothing(cleanup):
    folder = cleanup.folder()
    image = f"{folder}/image.luks"
    call("convert", *PASS, "-f", "raw", "-O", "luks", "-o", "key-secret=s,iter-time=10", raw_file(folder), image)
    with open(image, "r+b") as file:
        file.truncate(MIB)
    done = call("convert", *PASS, "--image-opts", node(image), "-O", "raw", f"{folder}/back", good=False)
    assert done.returncode == 1 and "ends before the LUKS payload" in done.stderr, done
    assert not os.path.exists(f"{folder}/back")


TESTS = [test for name, test in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(run_suite("luks", TESTS))
