#include "formats/qcow2/bitmap_bits.h"

#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "tests/support/random_ops.h"

namespace platter::qcow2 {
namespace {

using Model = std::vector<bool>;  // a bit for each granule

DirtyBits make(std::uint64_t size, unsigned granularity_bits) {
  return DirtyBits::make(size, granularity_bits).value();
}

void mark(Model& model, unsigned granularity_bits, std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return;
  for (std::uint64_t bit = offset >> granularity_bits;
       bit <= (offset + length - 1) >> granularity_bits; ++bit) {
    model[bit] = true;
  }
}

// What next_dirty() tells, bit by bit.
Model bits_of(const DirtyBits& bits) {
  Model model((bits.size() + bits.granularity() - 1) / bits.granularity());
  std::uint64_t at = 0;
  while (const auto run = bits.next_dirty(at)) {
    EXPECT_GE(run->offset, at);
    EXPECT_GT(run->length, 0U);
    EXPECT_TRUE(in_bounds(run->offset, run->length, bits.size()));
    mark(model, bits.granularity_bits(), run->offset, run->length);
    at = run->offset + run->length;
  }
  return model;
}

TEST(DirtyBits, AreCleanAtFirst) {
  const DirtyBits bits = make(10 * kMiB + 512, 16);
  EXPECT_EQ(bits.next_dirty(0), std::nullopt);
  EXPECT_EQ(bits.dirty_bytes(), 0U);
  EXPECT_EQ(bits.byte_count(), 21U);
  EXPECT_FALSE(bits.changed());
}

TEST(DirtyBits, ARangeMarksWhateverItTouches) {
  DirtyBits bits = make(1 * kMiB, 16);
  bits.mark(65535, 2);
  EXPECT_EQ(bits.next_dirty(0), (DirtyRange{0, 131072}));
  bits.mark(300'000, 0);
  EXPECT_EQ(bits.dirty_bytes(), 131072U);
}

TEST(DirtyBits, TheLastBitEndsWithTheDisk) {
  DirtyBits bits = make(1 * kMiB + 512, 16);
  bits.mark(1 * kMiB, 512);
  EXPECT_EQ(bits.next_dirty(0), (DirtyRange{1 * kMiB, 512}));
  EXPECT_EQ(bits.next_dirty(1 * kMiB + 100), (DirtyRange{1 * kMiB + 100, 412}));
  EXPECT_EQ(bits.next_dirty(1 * kMiB + 512), std::nullopt);
}

TEST(DirtyBits, TheLargestDiskHasAnEnd) {
  const std::uint64_t size = align_down(kMaxFileSize, kSectorSize);
  DirtyBits bits = make(size, 31);
  bits.mark(size - 512, 512);
  const auto run = bits.next_dirty(0);
  ASSERT_TRUE(run);
  EXPECT_EQ(run->offset + run->length, size);
}

TEST(DirtyBits, TellWhetherABitHasChanged) {
  DirtyBits bits = make(64 * kMiB, 9);
  bits.mark(0, 32 * kMiB);
  EXPECT_TRUE(bits.changed());
  bits.unchanged();
  bits.mark(5000, 20 * kMiB);
  EXPECT_FALSE(bits.changed()) << "all of that was dirty already";
  bits.mark(32 * kMiB - 512, 1024);
  EXPECT_TRUE(bits.changed());
  bits.unchanged();
  bits.clear();
  EXPECT_TRUE(bits.changed());
  bits.unchanged();
  bits.clear();
  EXPECT_FALSE(bits.changed());
}

TEST(DirtyBits, RandomMarksAgreeWithAModel) {
  std::mt19937_64 random(test::test_seed());
  for (int round = 0; round < 300; ++round) {
    const unsigned granularity_bits = 9 + random() % 8;
    const std::uint64_t size = align_down(random() % (4 * kMiB), 512) + 512;
    DirtyBits bits = make(size, granularity_bits);
    Model model((size + bits.granularity() - 1) / bits.granularity());
    for (int i = 0; i < 30; ++i) {
      const std::uint64_t offset = random() % size;
      const std::uint64_t most = random() % 4 == 0 ? size : std::uint64_t{20'000};
      const std::uint64_t length = std::min(random() % most, size - offset);
      bits.mark(offset, length);
      mark(model, granularity_bits, offset, length);
    }
    ASSERT_EQ(bits_of(bits), model);
  }
}

TEST(DirtyBits, MergeTakesAnyGranularity) {
  std::mt19937_64 random(test::test_seed());
  for (int round = 0; round < 200; ++round) {
    const std::uint64_t size = align_down(random() % (2 * kMiB), 512) + 512;
    DirtyBits source = make(size, 9 + random() % 10);
    DirtyBits target = make(size, 9 + random() % 10);
    for (int i = 0; i < 5; ++i) source.mark(random() % size, 1);
    target.mark(random() % size, 1);
    Model model = bits_of(target);
    for (std::uint64_t at = 0; at < size; at += 512) {
      const auto run = source.next_dirty(at);
      if (run && run->offset == at) mark(model, target.granularity_bits(), at, 512);
    }
    target.merge(source);
    ASSERT_EQ(bits_of(target), model);
  }
}

TEST(DirtyBits, ResizeForgetsWhatIsCutOffAndAddsCleanBits) {
  DirtyBits bits = make(1 * kMiB, 12);
  bits.mark(0, 1 * kMiB);
  bits.resize(100 * kKiB);
  EXPECT_EQ(bits.next_dirty(0), (DirtyRange{0, 100 * kKiB}));
  ASSERT_TRUE(bits.reserve(3 * kMiB));
  bits.resize(3 * kMiB);
  EXPECT_EQ(bits.next_dirty(0), (DirtyRange{0, 100 * kKiB}));
  EXPECT_EQ(bits.next_dirty(100 * kKiB), std::nullopt);
}

TEST(DirtyBits, BytesAreThoseOnDisk) {
  DirtyBits bits = make(11 * 512, 9);
  bits.mark(0, 512);
  bits.mark(9 * 512, 512);
  ASSERT_EQ(bits.bytes().size(), 2U);
  EXPECT_EQ(bits.bytes()[0], std::byte{1});
  EXPECT_EQ(bits.bytes()[1], std::byte{2});
  DirtyBits again = make(11 * 512, 9);
  const std::vector<std::byte> ones(8, std::byte{0xff});
  again.load(0, ones);
  EXPECT_EQ(again.bytes()[1], std::byte{7}) << "what lies behind the last bit is left out";
  EXPECT_EQ(again.dirty_bytes(), 11U * 512);
}

TEST(DirtyBits, KindsOfParts) {
  DirtyBits bits = make(64 * 512 * 8, 9);  // 64 bytes
  bits.load_ones(16, 16);
  bits.mark(40 * 512 * 8, 1);
  EXPECT_EQ(bits.kind_of(0, 16), DirtyBits::Kind::zeroes);
  EXPECT_EQ(bits.kind_of(16, 16), DirtyBits::Kind::ones);
  EXPECT_EQ(bits.kind_of(8, 16), DirtyBits::Kind::mixed);
  EXPECT_EQ(bits.kind_of(32, 1000), DirtyBits::Kind::mixed);
}

TEST(DirtyBits, ACopyIsOfItsOwn) {
  DirtyBits bits = make(1 * kMiB, 16);
  bits.mark(0, 1);
  const DirtyBits copy = bits.clone().value();
  bits.clear();
  EXPECT_EQ(copy.dirty_bytes(), 65536U);
}

}  // namespace
}  // namespace platter::qcow2
