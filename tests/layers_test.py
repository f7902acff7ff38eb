#!/usr/bin/python3
"""Rejects an include against the arrow: io <- crypto <- formats <- src/ops <- src/provision <- src/cli.

A file may include its own layer and those below. Includes are written from the project's root.

Rejects two types of one name, too: to the linker they are one, and no compiler sees both.
"""
import re
import sys
import tempfile
from pathlib import Path

# Each layer, and what it may include besides itself. The longest prefix of a path is its layer.
LAYERS = {
    "io": [],
    "crypto": ["io"],
    "formats": ["io", "crypto"],
    "src/ops": ["io", "crypto", "formats"],
    "src/provision": ["io", "crypto", "formats", "src/ops"],
    "src/capi": ["io", "crypto", "formats", "src/ops", "src/provision"],
    "src/cli": ["io", "crypto", "formats", "src/ops", "src/provision"],
}
TYPE = re.compile(r"^(?:struct|class|union|enum(?: class)?)\s+(?:\[\[\w+\]\]\s+)?(\w+)(?=[\s{])")
NAMESPACE = re.compile(r"^namespace\b\s*([\w:]*)\s*\{$")
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)')


def layer_of(path):
    return next((layer for layer in LAYERS if path.startswith(layer + "/")), None)


def violations(root, layer):
    """Yields one line of text for each bad include in a layer's files."""
    for file in sorted((root / layer).rglob("*")):
        if file.suffix not in (".h", ".cc"):
            continue
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quoted, angled = match.groups()
            target = layer_of(quoted or angled)
            where = f"{file.relative_to(root)}:{number}"
            if quoted and target is None:
                yield f"{where}: {quoted} is not a path from the root to a layer"
            elif angled and target and (root / angled).exists():
                yield f"{where}: {angled} is ours: include it with quotes"
            elif target and target != layer and target not in LAYERS[layer]:
                yield f"{where}: {layer} must not include {target} ({quoted or angled})"


def types_of(text):
    """The types that a file defines for all to see: those of its namespaces, with their names."""
    scopes = []
    for line in text.splitlines():
        if match := NAMESPACE.match(line):
            scopes.append(match[1])
        elif line.startswith("}  // namespace"):
            scopes.pop()
        elif (match := TYPE.match(line)) and "" not in scopes:
            yield "::".join([*scopes, match[1]])


def defined_twice(root):
    """Yields one line for each type that two files of the layers define."""
    places = {}
    for layer in LAYERS:
        for file in sorted((root / layer).rglob("*")):
            if file.suffix in (".h", ".cc"):
                for name in types_of(file.read_text()):
                    places.setdefault(name, set()).add(str(file.relative_to(root)))
    for name, files in places.items():
        if len(files) > 1:
            yield f"{name} is defined in {' and '.join(sorted(files))}"


def types_self_test():
    """A type of two files is found; one that only its file sees is not, nor a declaration."""
    shown = "namespace platter {\nstruct Run {\n  struct Part {\n  };\n};\n}  // namespace platter\n"
    hidden = "namespace platter {\nnamespace {\nstruct Run {\n};\n}  // namespace\nclass Part;\n}  // namespace platter\n"
    other = "namespace platter::qcow2 {\nclass Run final : public Part {\n};\n}  // namespace platter::qcow2\n"
    for second, expected in ((shown, 1), (hidden, 0), (other, 0)):
        with tempfile.TemporaryDirectory() as folder:
            for path, text in (("io/a.h", shown), ("formats/b.cc", second)):
                file = Path(folder) / path
                file.parent.mkdir(parents=True)
                file.write_text(text)
            found = list(defined_twice(Path(folder)))
            if len(found) != expected:
                return f"{second!r}: {found}"
    return None


def self_test():
    """The checker finds what it is for, and nothing else."""
    cases = [
        ("io/a.h", '#include "io/b.h"', 0),
        ("io/a.h", '#include <vector>', 0),
        ("io/a.h", '#include "formats/image.h"', 1),
        ("io/a.h", '#include "b.h"', 1),
        ("io/a.h", '#include "../formats/image.h"', 1),
        ("io/a.h", '#include "tests/support/faulty_file.h"', 1),
        ("formats/raw/a.cc", '  #  include "src/ops/convert.h"', 1),
        ("formats/raw/a.cc", '#include "io/b.h"', 0),
        ("src/ops/a.cc", '#include "src/cli/options.h"', 1),
        ("src/cli/a.cc", '#include "src/ops/convert.h"', 0),
    ]
    for path, text, expected in cases:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / path
            file.parent.mkdir(parents=True)
            file.write_text(text + "\n")
            found = len(list(violations(Path(folder), layer_of(path))))
            if found != expected:
                return f"{path}: {text}: {found} violations found instead of {expected}"
    return None


def main():
    root = Path(__file__).resolve().parent.parent
    results = {"layers.self_test": self_test() or types_self_test()}
    results["layers.types"] = "; ".join(defined_twice(root)) or None
    for layer in LAYERS:
        if (root / layer).is_dir():
            results[f"layers.{layer}"] = "; ".join(violations(root, layer)) or None
    for name, reason in results.items():
        print(f"FAIL {name} {reason}" if reason else f"PASS {name}")
    return 1 if any(results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
