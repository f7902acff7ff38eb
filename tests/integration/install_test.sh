#!/usr/bin/env bash
# Installs the release build, whose manual and completion scripts are what the program prints, and builds docs/example
# against it, in both ways that docs/embedding.md shows: find_package(platter) and pkg-config.
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.." && pwd -P) || exit
work=$(mktemp -d) || exit
trap 'rm -rf -- "$work"' EXIT
prefix=$work/prefix
status=0

step() {  # NAME COMMAND...
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    echo "PASS install.$name"
  else
    echo "FAIL install.$name $*"
    cat "$work/log"
    status=1
    return 1
  fi
}
# The example reads an image and prints how many bytes of it are not zero.
# shellcheck disable=SC2317  # called through step
runs() { [[ $("$1" "$work/image") == *" 1048576 bytes, 300000 not zero"* ]]; }

head -c 300000 /dev/zero | tr '\0' x >"$work/image"
truncate -s 1M "$work/image"

step installs cmake --install "$root/build/release" --prefix "$prefix" || exit
# Nothing may point back to where it was built.
step is_relocatable bash -c "! grep -rIl -- '$root' '$prefix'" && mv "$prefix" "$work/moved"
prefix=$work/moved

step runs "$prefix/bin/platter" --version
# shellcheck disable=SC2317  # called through step
is_generated() {  # FILE WORD...: what the installed program prints
  cmp "$prefix/share/$1" <("$prefix/bin/platter" --generate "${@:2}")
}
step manual is_generated man/man1/platter.1 man
for verb in $("$prefix/bin/platter" --generate verbs); do
  step "manual_$verb" is_generated "man/man1/platter-$verb.1" man "$verb"
done
step completion_bash is_generated bash-completion/completions/platter bash
step completion_zsh is_generated zsh/site-functions/_platter zsh
step completion_fish is_generated fish/vendor_completions.d/platter.fish fish
step cmake_configures cmake -G Ninja -S "$root/docs/example" -B "$work/build" \
  -DCMAKE_CXX_COMPILER=clang++-19 -DCMAKE_PREFIX_PATH="$prefix" &&
  step cmake_builds cmake --build "$work/build" &&
  step cmake_example_reads runs "$work/build/read_image"

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name platter.pc)")
export PKG_CONFIG_PATH
# shellcheck disable=SC2046  # lists of options
step pkgconfig_builds clang++-19 -std=c++23 -o "$work/read_image" \
  "$root/docs/example/read_image.cc" $(pkg-config --cflags --libs platter) &&
  step pkgconfig_example_reads runs "$work/read_image"
exit $status
