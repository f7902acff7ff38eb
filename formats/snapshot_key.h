// Naming one of an image's internal snapshots.
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace platter {

/// What is given has to match; the first snapshot that does is meant.
struct SnapshotKey {
  std::optional<std::string> id;
  std::optional<std::string> name;
  /// One of the two is enough: the id is looked for first, in all of them.
  bool either = false;

  static SnapshotKey by_name(std::string name) {
    return {.id = std::nullopt, .name = std::move(name)};
  }
  static SnapshotKey id_or_name(const std::string& text) {
    return {.id = text, .name = text, .either = true};
  }
};

}  // namespace platter
