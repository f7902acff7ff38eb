#include "crypto/locked_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string>

#include "io/unique_fd.h"

namespace platter {
namespace {

std::string contents_of(const char* path) {
  std::string text;
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file) return text;
  char piece[16384];
  for (;;) {
    const ssize_t count = ::read(file.get(), piece, sizeof piece);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(piece, static_cast<std::size_t>(count));
  }
}

// "7f0000000000-7f0000001000 rw-p ...": the line that a mapping begins with.
std::optional<LockedRange> parse_range(std::string_view line) {
  LockedRange range;
  const char* const end = line.data() + line.size();
  const auto first = std::from_chars(line.data(), end, range.begin, 16);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '-') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, range.end, 16);
  if (second.ec != std::errc() || second.ptr == end || *second.ptr != ' ') return std::nullopt;
  return range;
}

bool locks_anything() {
  const std::string status = contents_of("/proc/self/status");
  const std::size_t at = status.find("VmLck:");
  if (at == std::string::npos) return true;
  const std::size_t digit = status.find_first_of("123456789\n", at);
  return digit != std::string::npos && status[digit] != '\n';
}

}  // namespace

std::vector<LockedRange> parse_locked_ranges(std::string_view smaps) {
  std::vector<LockedRange> locked;
  LockedRange current;
  while (!smaps.empty()) {
    const std::size_t end = std::min(smaps.find('\n'), smaps.size());
    const std::string_view line = smaps.substr(0, end);
    smaps.remove_prefix(std::min(end + 1, smaps.size()));
    if (const auto range = parse_range(line)) current = *range;
    if (line.starts_with("VmFlags:") && (line.contains(" lo ") || line.ends_with(" lo"))) {
      locked.push_back(current);
    }
  }
  return locked;
}

std::vector<LockedRange> locked_ranges() {
  if (!locks_anything()) return {};
  return parse_locked_ranges(contents_of("/proc/self/smaps"));
}

void lock_again(const std::vector<LockedRange>& ranges) noexcept {
  for (const LockedRange& range : ranges) {
    // An address of the kernel's, not of ours: there is no object to point to.
    void* const begin = reinterpret_cast<void*>(range.begin);  // NOLINT(performance-no-int-to-ptr)
    ::mlock(begin, range.end - range.begin);
  }
}

}  // namespace platter
