#include "src/cli/io/report.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "src/cli/io/numbers.h"

namespace platter::cli {
namespace {

std::string time_text(std::chrono::nanoseconds time, bool fixed_form) {
  const auto hundredths = static_cast<std::uint64_t>(
                              std::chrono::duration_cast<std::chrono::milliseconds>(time).count()) /
                          10;
  const std::uint64_t hours = hundredths / 360'000;
  const std::uint64_t minutes = hundredths / 6'000 % 60;
  const std::string seconds = fmt::format("{:02}.{:02}", hundredths / 100 % 60, hundredths % 100);
  if (fixed_form || hours > 0) return fmt::format("{}:{:02}:{}", hours, minutes, seconds);
  if (minutes > 0) return fmt::format("{}:{}", minutes, seconds);
  return seconds + " sec";
}

// What qemu-io shows as it is: no spaces, no punctuation.
bool is_alphanumeric(unsigned byte) {
  return byte < 0x80 && std::isalnum(static_cast<int>(byte)) != 0;
}

}  // namespace

std::string report_text(const Report& report) {
  // A clock that did not advance must not lead to an infinite rate.
  const std::chrono::duration<double> seconds = std::max(report.time, std::chrono::nanoseconds(1));
  const auto bytes = static_cast<double>(report.length);
  const double bytes_per_second = bytes / seconds.count();
  const double operations_per_second = 1 / seconds.count();
  const std::string time = time_text(report.time, report.machine_readable);
  if (report.machine_readable) {
    return fmt::format("{},1,{},{:.3f},{:.3f}\n", report.length, time, bytes_per_second,
                       operations_per_second);
  }
  return fmt::format("{} {}/{} bytes at offset {}\n{}, 1 ops; {} ({}/sec and {:.4f} ops/sec)\n",
                     report.operation, report.length, report.length, report.offset,
                     size_text(bytes), time, size_text(bytes_per_second), operations_per_second);
}

std::string dump_text(std::uint64_t offset, std::span<const std::byte> bytes) {
  constexpr std::size_t kPerLine = 16;
  std::string text;
  while (!bytes.empty()) {
    const auto line = bytes.first(std::min(kPerLine, bytes.size()));
    std::string characters;
    text += fmt::format("{:08x}:  ", offset);
    for (const std::byte byte : line) {
      const auto value = std::to_integer<unsigned>(byte);
      text += fmt::format("{:02x} ", value);
      characters += is_alphanumeric(value) ? static_cast<char>(value) : '.';
    }
    text += fmt::format(" {}\n", characters);
    bytes = bytes.subspan(line.size());
    offset += line.size();
  }
  return text;
}

}  // namespace platter::cli
