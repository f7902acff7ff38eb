#include "crypto/key_split.h"

#include <algorithm>
#include <ranges>
#include <vector>

#include <gtest/gtest.h>

namespace platter {
namespace {

std::vector<std::byte> counting_bytes(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i + 1);
  return bytes;
}

TEST(KeySplit, AllStripesGiveTheKey) {
  for (const std::string_view hash : {"sha1", "sha256", "sha512", "ripemd160"}) {
    for (const std::size_t size : {16U, 24U, 32U, 64U}) {
      for (const std::uint32_t stripes : {1U, 2U, 400U}) {
        const std::vector<std::byte> key = counting_bytes(size);
        std::vector<std::byte> split(size * stripes);
        std::vector<std::byte> merged(size);
        ASSERT_TRUE(split_key(hash, key, stripes, split));
        ASSERT_TRUE(merge_key(hash, split, stripes, merged));
        EXPECT_EQ(merged, key) << hash << " " << size << " " << stripes;
      }
    }
  }
}

TEST(KeySplit, OneChangedBitLosesTheKey) {
  const std::vector<std::byte> key = counting_bytes(32);
  std::vector<std::byte> split(key.size() * 100);
  ASSERT_TRUE(split_key("sha256", key, 100, split));
  EXPECT_TRUE(std::ranges::search(split, key).empty());
  split[5] ^= std::byte{1};
  std::vector<std::byte> merged(key.size());
  ASSERT_TRUE(merge_key("sha256", split, 100, merged));
  const auto same = std::ranges::count_if(std::views::iota(0U, 32U),
                                          [&](unsigned i) { return merged[i] == key[i]; });
  EXPECT_LT(same, 8);
}

TEST(KeySplit, NeedsAHashThatIsKnown) {
  std::vector<std::byte> bytes(16);
  EXPECT_EQ(split_key("tiger", bytes, 1, bytes).error().kind(), ErrorKind::unsupported);
  EXPECT_EQ(merge_key("tiger", bytes, 1, bytes).error().kind(), ErrorKind::unsupported);
}

}  // namespace
}  // namespace platter
