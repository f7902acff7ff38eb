// The operations of a File that tests count, fail and generate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace platter::test {

enum class FileOperation : std::uint8_t {
  read,
  write,
  flush,
  write_zeroes,
  discard,
  truncate,
  allocate,
  extents,
  clone,
  copy,
};
inline constexpr std::size_t kFileOperationCount = 10;

constexpr std::string_view to_string(FileOperation operation) noexcept {
  constexpr std::string_view kNames[kFileOperationCount] = {
      "read",     "write",    "flush",   "write_zeroes", "discard",
      "truncate", "allocate", "extents", "clone",        "copy"};
  return kNames[static_cast<std::size_t>(operation)];
}

}  // namespace platter::test
