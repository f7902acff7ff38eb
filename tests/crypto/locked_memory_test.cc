#include "crypto/locked_memory.h"

#include <sys/mman.h>

#include <algorithm>

#include <gtest/gtest.h>

namespace platter {
namespace {

TEST(LockedMemory, MappingsWithTheFlagAreFound) {
  constexpr std::string_view kSmaps =
      "00400000-00401000 r-xp 00000000 08:01 1 /bin/a\n"
      "Size:                  4 kB\n"
      "VmFlags: rd ex mr mw me \n"
      "7f0000000000-7f0000002000 rw-p 00000000 00:00 0 \n"
      "Locked:                8 kB\n"
      "VmFlags: rd wr mr mw me lo ac \n"
      "7f0000003000-7f0000004000 rw-s 00000000 00:01 9 /memfd:lo (deleted)\n"
      "VmFlags: rd wr lo";
  const std::vector<LockedRange> expected = {{0x7f0000000000, 0x7f0000002000},
                                             {0x7f0000003000, 0x7f0000004000}};
  EXPECT_EQ(parse_locked_ranges(kSmaps), expected);
  EXPECT_TRUE(parse_locked_ranges("").empty());
  EXPECT_TRUE(parse_locked_ranges("garbage\nVmFlags:\n").empty());
}

TEST(LockedMemory, WhatWasUnlockedIsLockedAgain) {
  constexpr std::size_t kSize = 4 * 4096;
  void* const memory =
      ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  if (::mlock(memory, kSize) != 0) GTEST_SKIP() << "no memory may be locked here";
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  const auto locked = [begin] {
    return std::ranges::any_of(locked_ranges(), [begin](const LockedRange& range) {
      return range.begin <= begin && begin + kSize <= range.end;
    });
  };
  if (!locked()) GTEST_SKIP() << "AddressSanitizer makes mlock() do nothing";
  const std::vector<LockedRange> before = locked_ranges();
  ::munlock(memory, kSize);
  EXPECT_FALSE(locked());
  lock_again(before);
  EXPECT_TRUE(locked());
  ::munmap(memory, kSize);
  lock_again(before);  // what is gone is passed over
}

}  // namespace
}  // namespace platter
