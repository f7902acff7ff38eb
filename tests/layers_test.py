#!/usr/bin/python3
"""Rejects an include against the arrow: io <- crypto <- formats <- src/ops <- src/provision <- src/cli.

A file may include its own layer and those below. Includes are written from the project's root.
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
    results = {"layers.self_test": self_test()}
    for layer in LAYERS:
        if (root / layer).is_dir():
            results[f"layers.{layer}"] = "; ".join(violations(root, layer)) or None
    for name, reason in results.items():
        print(f"FAIL {name} {reason}" if reason else f"PASS {name}")
    return 1 if any(results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
