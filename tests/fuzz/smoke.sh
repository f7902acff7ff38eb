#!/usr/bin/env bash
# smoke.sh PROGRAM: runs a fuzz target over its corpus and for a few seconds beyond.
# To fuzz in earnest: build/asan/tests/fuzz/PROGRAM FOLDER
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.." && pwd -P) || exit
corpus=$root/tests/fuzz/corpus/$1
found=$(mktemp -d) || exit  # new inputs, and the one that crashed
if "$root/build/asan/tests/fuzz/$1" -max_total_time="${FUZZ_SECONDS:-10}" -timeout=10 \
  -rss_limit_mb=1024 -artifact_prefix="$found/crash." "$found" ${corpus:+$([[ -d $corpus ]] && echo "$corpus")}; then
  rm -r "$found"
  echo "PASS fuzz.$1"
else
  echo "FAIL fuzz.$1 the input in base64: $(base64 -w0 "$found"/crash.* 2>/dev/null | head -c 4000)"
  exit 1
fi
