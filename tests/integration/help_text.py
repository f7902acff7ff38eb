"""Verbs and options as the tool's own help lists them."""

import re

from support import PLATTER, sh


def verbs():
    names = sh(PLATTER, "--generate", "verbs").split()
    assert "convert" in names and len(names) >= 12, names
    return names


def options_of(verb):
    """Of lines such as "  -U, --force-share   also where ...", "      --output=FORMAT   human or json"."""
    lines = sh(PLATTER, verb, "--help").split("Options:\n")[1].split("\n\n")[0].splitlines()
    words = [re.split(r"  +", line.strip())[0] for line in lines]
    return {option for word in words for option in re.findall(r"(?:^|, )(--?\w[\w-]*)", word)}
