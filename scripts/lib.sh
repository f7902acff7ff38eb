# Sourced by the other scripts, which have set `root` to the project's folder.
# shellcheck shell=bash disable=SC2154,SC2015

say() { printf 'platter: %s\n' "$*" >&2; }

# The C++ files of the project whose names match, as paths from its root: source_files '*.h'
source_files() (
  cd "$root" && find io crypto formats src tests bench docs -type f \( -name '*.h' -o -name '*.cc' \) \
    -name "$1" | LC_ALL=C sort
)

# build PRESET TARGET...: configures and builds; without TARGET it only configures. Silent: what the
# tools print goes to build/PRESET.log, and its end to standard error if they fail.
build() {
  mkdir -p "$root/build" && (
    flock 9 && cd "$root" && exec </dev/null >"build/$1.log" 2>&1 && configure_and_make "$@" 9>&-
  ) 9>>"$root/build/$1.lock" || {
    tail -n 200 "$root/build/$1.log" >&2
    say "the build failed: see build/$1.log"
    return 1
  }
}
configure_and_make() {
  local preset=$1 fresh=()
  shift
  command -v ccache && export CMAKE_CXX_COMPILER_LAUNCHER=ccache
  # A tree that was copied or moved brings a cache that names its old place.
  [[ ! -f build/$preset/CMakeCache.txt ]] ||
    grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "build/$preset/CMakeCache.txt" || fresh=(--fresh)
  cmake "${fresh[@]}" --preset "$preset" || return
  (($# == 0)) || cmake --build --preset "$preset" --target "$@" >"build/$preset.log" 2>&1
}

# build_release: build/release/platter and the libraries. build/release.stamp is as old as the start
# of the last good build: sources newer than it are not in the binary.
build_release() {
  local stamp=$root/build/release.stamp
  mkdir -p "$root/build" && : >"$stamp.$$" || return
  if build release platter; then
    mv "$stamp.$$" "$stamp"
  else
    rm -f "$stamp.$$"
    return 1
  fi
}
