#!/usr/bin/env bash
# Every C++ file is formatted as .clang-format says.
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P) || exit
. "$root/scripts/lib.sh"
cd "$root" || exit

bad=$(source_files '*' | xargs clang-format-19 --dry-run -Werror 2>&1 |
  sed -n 's/:.* error: code should be clang-formatted.*//p' | sort -u)
if [[ -z $bad ]]; then
  echo "PASS format"
else
  # shellcheck disable=SC2086  # a list
  echo "FAIL format mend with: clang-format-19 -i" $bad
  exit 1
fi
