// Which memory of this process is locked. Internal to crypto/.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace platter {

struct LockedRange {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  bool operator==(const LockedRange&) const = default;
};

/// From text as in /proc/self/smaps (proc(5)): the mappings whose VmFlags have "lo".
std::vector<LockedRange> parse_locked_ranges(std::string_view smaps);

/// Of this process, as the kernel says now. Quick where nothing at all is locked.
std::vector<LockedRange> locked_ranges();

/// Locks them again. What was unmapped meanwhile is passed over.
void lock_again(const std::vector<LockedRange>& ranges) noexcept;

}  // namespace platter
