// What `platter io` prints about a request, in qemu-io's form.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace platter::cli {

struct Report {
  std::string_view operation;  ///< "read", "wrote", "discard"
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  ///< bytes that were transferred: all that were asked for
  std::chrono::nanoseconds time{};
  bool machine_readable = false;
};
/// Two lines for people, or with machine_readable one: bytes, operations, time and two rates.
std::string report_text(const Report& report);

/// The bytes in hexadecimal and as characters, 16 in a line; `offset` is the first one's.
std::string dump_text(std::uint64_t offset, std::span<const std::byte> bytes);

}  // namespace platter::cli
