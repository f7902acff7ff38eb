#!/usr/bin/env python3
"""The shells complete platter's command line: bash, zsh and fish with the scripts that `platter --generate` prints.

The shells run as a user has them: bash and zsh on a terminal, where a line is typed and the Tab key pressed; bash loads
the script through bash-completion. What there is to complete is read from `VERB --help`.
"""

import os
import pty
import re
import select
import shutil
import sys
import time

from help_text import options_of, verbs
from support import PLATTER, Skip, run, run_suite, sh

# Typed, and what Tab makes of it.
UNIQUE = [
    ("platter conv", "platter convert "),
    ("platter info --outp", "platter info --output="),
    ("platter info --output=j", "platter info --output=json "),
    ("platter info --output j", "platter info --output json "),
    ("platter create -f qc", "platter create -f qcow2 "),
    ("platter convert -f raw -O qc", "platter convert -f raw -O qcow2 "),
    ("platter convert -O qcow2 im", "platter convert -O qcow2 image.raw "),
    ("platter create -b im", "platter create -b image.raw "),
    ("platter resize fold", "platter resize folder/"),
    ("platter check --repair=le", "platter check --repair=leaks "),
    ("platter check -r al", "platter check -r all "),
    ("platter convert -t writet", "platter convert -t writethrough "),
    ("platter create -f qcow2 -o clu", "platter create -f qcow2 -o cluster_size="),
    ("platter create -o cluster_size=64k,laz", "platter create -o cluster_size=64k,lazy_refcounts="),
    ("platter convert -o compat=1.1,cluster_size=64k,laz",
     "platter convert -o compat=1.1,cluster_size=64k,lazy_refcounts="),
    ("platter amend -o refc", "platter amend -o refcount_bits="),
    ("platter convert --target-is", "platter convert --target-is-zero "),
]
# Typed, and all that can follow.
SEVERAL = [
    ("platter co", {"commit", "compare", "convert"}),
    ("platter info --output=", {"human", "json"}),
    ("platter create -f ", {"raw", "qcow2", "luks"}),
    ("platter check -r ", {"leaks", "all"}),
    ("platter bench -c ", set()),
]
ANSWER_S = 20  # that a busy machine may take for one key


class Terminal:
    """A shell on a terminal of its own, to which keys are sent."""

    def __init__(self, cleanup, words, setup, folder, environment):
        self.result = folder + "/result"
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder + "/work")
            os.execvpe(words[0], words, os.environ | {"TERM": "dumb", "LC_ALL": "C.UTF-8", "OUT": self.result} | environment)
        cleanup.callback(self.end)
        self.send(setup + "\n")
        self.send("echo ready >$OUT\n")
        self.answer()

    def end(self):
        os.close(self.fd)
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)

    def send(self, text):
        os.write(self.fd, text.encode())

    def answer(self):
        """What the shell wrote to its file, which ends with a line's end."""
        until = time.monotonic() + ANSWER_S
        seen = b""
        while time.monotonic() < until:
            if select.select([self.fd], [], [], 0.02)[0]:
                seen += os.read(self.fd, 65536)  # the terminal must not fill up
            if os.path.exists(self.result):
                with open(self.result) as file:
                    text = file.read()
                if text.endswith("\n"):
                    os.remove(self.result)
                    return text[:-1]
        raise AssertionError(f"the shell does not answer; it shows {seen[-2000:]!r}")

    def completed(self, line):
        """The line after Tab; ctrl-X then writes it down and empties it."""
        self.send(line + "\t\x18")
        return self.answer()


def shell_folder(cleanup, name):
    if not shutil.which(name):
        raise Skip(f"no {name}")
    folder = cleanup.folder()
    os.makedirs(folder + "/work/folder/below")
    os.mkdir(folder + "/bin")
    os.symlink(PLATTER, folder + "/bin/platter")
    open(folder + "/work/image.raw", "w").close()
    return folder


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


class Bash:
    name = "bash"

    def __init__(self, cleanup):
        self.cleanup, self.folder = cleanup, shell_folder(cleanup, "bash")
        self.script = self.folder + "/user/completions/platter"
        write(self.script, sh(PLATTER, "--generate", "bash"))
        self.terminal = None

    def completed(self, line):
        if not self.terminal:
            common = "/usr/share/bash-completion/bash_completion"
            if not os.path.exists(common):
                raise Skip("no bash-completion")
            write(self.folder + "/setup", f"""
                . {common}
                note() {{ printf '%s\\n' "$READLINE_LINE" >$OUT.new; mv $OUT.new $OUT; READLINE_LINE=; READLINE_POINT=0; }}
                bind -x '"\\C-x": note'
                bind 'set bell-style none'
                bind 'set enable-bracketed-paste off'
            """)
            environment = {"BASH_COMPLETION_USER_DIR": self.folder + "/user"}
            self.terminal = Terminal(
                self.cleanup, ["bash", "--norc", "--noprofile", "-i"], ". ../setup", self.folder, environment)
        return self.terminal.completed(line)

    def candidates(self, line):
        """The function's answer, without a terminal; words are split where bash splits them."""
        words = [word for part in line.split(" ") for word in re.findall(r"=|[^=]+", part) or [""]]
        call = f'. {self.script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _platter; printf "%s\\n" "${{COMPREPLY[@]}}"'
        done = run("-c", call, "bash", *words, binary="bash", cwd=self.folder + "/work")
        assert done.code == 0 and done.err == "", done
        return {word.rstrip("=") for word in done.out.split()}


class Zsh:
    name = "zsh"

    def __init__(self, cleanup):
        self.folder = shell_folder(cleanup, "zsh")
        write(self.folder + "/functions/_platter", sh(PLATTER, "--generate", "zsh"))
        # Matches are written down where zsh adds them; calls that only ask (-O, -A, -D) are not.
        write(self.folder + "/setup", """
            fpath=(../functions $fpath)
            autoload -Uz compinit
            compinit -u -d ../dump
            compadd() {
              if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\\ * ]]; then
                local -a matches
                builtin compadd -O matches "$@"
                print -rl -- $matches >>../matches
              fi
              builtin compadd "$@"
            }
            note() { print -r -- "$BUFFER" >$OUT.new; mv $OUT.new $OUT; BUFFER= }
            zle -N note
            bindkey '^X' note
            bindkey '^I' complete-word
            setopt no_beep no_list_ambiguous
            LISTMAX=10000
            unsetopt zle_bracketed_paste 2>/dev/null
        """)
        self.terminal = Terminal(cleanup, ["zsh", "-f", "-i"], ". ../setup", self.folder, {})

    def completed(self, line):
        return self.terminal.completed(line)

    def candidates(self, line):
        path = self.folder + "/matches"
        if os.path.exists(path):
            os.remove(path)
        self.terminal.completed(line)
        if not os.path.exists(path):
            return set()
        with open(path) as file:
            return {word.rstrip("=") for word in file.read().split()}


class Fish:
    name = "fish"

    def __init__(self, cleanup):
        self.folder = shell_folder(cleanup, "fish")
        write(self.folder + "/platter.fish", sh(PLATTER, "--generate", "fish"))

    def answers(self, line):
        """Whole words, without their explanations."""
        call = f"source {self.folder}/platter.fish; complete -C '{line}'"
        environment = os.environ | {"HOME": self.folder, "XDG_CONFIG_HOME": self.folder, "XDG_DATA_HOME": self.folder,
                                    "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        done = run("--no-config", "-c", call, binary="fish", cwd=self.folder + "/work", env=environment)
        assert done.code == 0 and done.err == "", done
        return [answer.split("\t")[0] for answer in done.out.splitlines()]

    def completed(self, line):
        answers = self.answers(line)
        assert len(answers) == 1, f"{line}: {answers}"
        before = line.rpartition(" ")[0]
        return f"{before} {answers[0]}" + ("" if answers[0].endswith(("=", "/")) else " ")

    def candidates(self, line):
        return {answer.removeprefix(line.rpartition(" ")[2]) if line.endswith("=") else answer.rstrip("=")
                for answer in self.answers(line)}


def completes_words(shell_of):
    def test(cleanup):
        shell = shell_of(cleanup)
        for line, expected in UNIQUE:
            got = shell.completed(line)
            # Fish asks by itself whether "=" or a blank comes next.
            assert got.rstrip(" =") == expected.rstrip(" ="), f"{line!r} becomes {got!r}"

    test.__name__ = f"test_{shell_of.name}_completes_words"
    return test


def offers_choices(shell_of):
    def test(cleanup):
        shell = shell_of(cleanup)
        for line, expected in SEVERAL:
            assert shell.candidates(line) == expected, f"{line!r}: {shell.candidates(line)}"
        assert set(verbs()) <= shell.candidates("platter "), shell.candidates("platter ")

    test.__name__ = f"test_{shell_of.name}_offers_choices"
    return test


def offers_every_option(shell_of):
    def test(cleanup):
        shell = shell_of(cleanup)
        for verb in verbs():
            expected = options_of(verb)
            assert {"-h", "--help"} <= expected, (verb, expected)
            # Fish shows short options only after one dash and prefers long ones after two.
            got = shell.candidates(f"platter {verb} -") | shell.candidates(f"platter {verb} --")
            assert got == expected, f"{verb}: missing {expected - got}, too many {got - expected}"

    test.__name__ = f"test_{shell_of.name}_offers_every_option"
    return test


def main():
    kinds = (completes_words, offers_choices, offers_every_option)
    return run_suite("completion", [kind(shell) for shell in (Bash, Zsh, Fish) for kind in kinds])


if __name__ == "__main__":
    sys.exit(main())
