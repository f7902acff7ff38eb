# Sourced by run-in-uml and run-in-qemu, which have set `kind`. Options, the guest's command, its
# output and its exit status.
# shellcheck shell=bash disable=SC2034,SC2154
set -u
here=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd -P) || exit 125
cache=$(cd -- "$here/../.." && pwd -P)/build/vm
name=$(basename -- "$0")
say() { printf '%s: %s\n' "$name" "$*" >&2; }

out='' memory=2048 cpus=2 limit=600 modules=''
disks=()  # files
options=()
usage() {
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 125
}
while getopts '+o:d:D:m:c:t:M:' option; do
  case $option in
    o) out=$(realpath -- "$OPTARG") || exit 125 ;;
    d | D) options+=("$option$OPTARG") ;;
    m) memory=$OPTARG ;;
    c) cpus=$OPTARG ;;
    t) limit=$OPTARG ;;
    M) modules=$OPTARG ;;
    *) usage ;;
  esac
done
shift $((OPTIND - 1))
(($#)) || usage

"$here/prepare" "$kind" || { say "cannot prepare the guest"; exit 125; }
work=$(mktemp -d "${TMPDIR:-/tmp}/vm.XXXXXX") || exit 125
guest='' children=()
# The guest leads a process group: UML's processes would outlive a kernel that is killed.
kill_guest() { kill -KILL -- "-$guest" 2>/dev/null; }
end() {
  trap - EXIT
  [[ -z $guest ]] || kill_guest
  ((!${#children[@]})) || kill "${children[@]}" 2>/dev/null
  wait
  rm -rf -- "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
[[ -n $out ]] || { out=$work/out && mkdir "$out"; }
for disk in "${options[@]}"; do
  file=${disk#?}
  if [[ $disk == d* ]]; then
    file=$work/disk${#disks[@]}
    truncate -s "${disk#?}" "$file" || exit 125
  fi
  disks+=("$file")
done

mkdir "$work/ctl" && : >"$work/ctl/out" && : >"$work/ctl/err"
{
  printf 'cd %q 2>/dev/null || cd /\n' "$PWD"
  printf 'export VM_OUT=%q IN_VM=%q\n' "$out" "$kind"
  # shellcheck disable=SC2086  # a list
  for variable in PATH LANG LC_ALL ASAN_OPTIONS UBSAN_OPTIONS GTEST_FILTER ${VM_ENV:-}; do
    [[ -z ${!variable+x} ]] || printf 'export %s=%q\n' "$variable" "${!variable}"
  done
  printf 'exec'
  printf ' %q' "$@"
  echo
} >"$work/ctl/command"

# run_guest COMMAND...: runs the guest to its end and exits as the command in it did.
run_guest() {
  set -m
  "$@" </dev/null >"$work/console" 2>&1 &
  guest=$!
  set +m
  tail -q -s 0.1 -c +1 -f --pid="$guest" "$work/ctl/out" &
  children+=($!)
  tail -q -s 0.1 -c +1 -f --pid="$guest" "$work/ctl/err" >&2 &
  children+=($!)
  local deadline=$((SECONDS + limit)) grace=0 killed=''
  while kill -0 "$guest" 2>/dev/null; do
    if [[ -s $work/ctl/status ]]; then  # all is done; a guest that spins at power-off is not waited for
      ((++grace <= 20)) || killed=spins
    elif ((SECONDS >= deadline)); then
      killed=late
    fi
    [[ -z $killed ]] || { kill_guest; break; }
    sleep 0.1
  done
  { wait "$guest"; } 2>/dev/null
  guest=''
  wait "${children[@]}"
  children=()
  [[ $killed != spins ]] || say "the guest did not power off by itself: killed"
  [[ ! -s $work/ctl/status ]] || exit "$(cat "$work/ctl/status")"
  tail -n 60 "$work/console" >&2
  [[ $killed != late ]] || { say "the guest was still running after $limit s"; exit 124; }
  say "the guest died without an exit status"
  exit 125
}
