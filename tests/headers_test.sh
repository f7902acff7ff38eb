#!/usr/bin/env bash
# Every header compiles on its own, and twice in one file.
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P) || exit
. "$root/scripts/lib.sh"
cd "$root" || exit

check() {
  local output
  if output=$(printf '#include "%s"\n#include "%s"\n' "$1" "$1" |
    clang++-19 -std=c++23 -I. -Wall -Wextra -Werror -fsyntax-only -x c++ - 2>&1); then
    echo "PASS headers.$1"
  else
    echo "FAIL headers.$1 does not compile on its own"
    printf '%s\n' "$output"
    return 1
  fi
}
export -f check
source_files '*.h' | xargs -P "$(nproc)" -I {} bash -c 'check {}'
