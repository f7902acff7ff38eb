#!/usr/bin/env bash
# scripts/platter: adds little time when the binary is up to date, and nothing to the output.
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.." && pwd -P) || exit
wrapper=$root/scripts/platter
binary=$root/build/release/platter
status=0
check() {  # NAME REASON: the last command decides
  if [[ $? == 0 ]]; then echo "PASS wrapper.$1"; else echo "FAIL wrapper.$1 $2"; status=1; fi
}

expected=$("$binary" --version)
ln -s "$wrapper" "$TMPDIR/link"
[[ -n $expected && $("$wrapper" --version) == "$expected" ]]
check same_output "--version differs from the binary's"
[[ $(cd / && "$TMPDIR/link" --version) == "$expected" ]]
check through_a_symlink "--version differs from the binary's"
"$wrapper" no-such-verb >/dev/null 2>&1
wrapped=$?
"$binary" no-such-verb >/dev/null 2>&1
[[ $? == "$wrapped" && $wrapped != 0 ]]
check same_exit_status "exit status differs from the binary's"

# The median of 11 runs, in microseconds.
median() {
  local i start
  for ((i = 0; i < 11; ++i)); do
    start=${EPOCHREALTIME/./}
    "$1" --version >/dev/null
    echo $((${EPOCHREALTIME/./} - start))
  done | sort -n | sed -n 6p
}
added=$(($(median "$wrapper") - $(median "$binary")))
((added < 50000))
check adds_under_50_ms "added $added microseconds"
exit $status
