#include "src/ops/checksum.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "crypto/digest.h"
#include "formats/raw/raw_image.h"
#include "io/bytes.h"
#include "io/ring.h"
#include "tests/support/fake_image.h"
#include "tests/support/faulty_file.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

using Bytes = std::vector<std::byte>;

std::vector<std::byte> digest_of(std::span<const std::byte> bytes) {
  Digest digest = Digest::create("sha256").value();
  EXPECT_TRUE(digest.update(bytes));
  return digest.finish().value();
}
std::string plain(std::span<const std::byte> bytes) { return hex_text(digest_of(bytes)); }
/// By the definition, one block after the other.
std::string tree(std::span<const std::byte> bytes) {
  Bytes leaves;
  for (std::size_t at = 0; at < bytes.size(); at += kMiB) {
    const Bytes leaf = digest_of(bytes.subspan(at, std::min<std::size_t>(kMiB, bytes.size() - at)));
    leaves.insert(leaves.end(), leaf.begin(), leaf.end());
  }
  return plain(leaves);
}

class ChecksumImage : public testing::Test {
 protected:
  Result<std::string> try_checksum(Image& image, const std::string& algorithm,
                                   const CancelToken* cancel = nullptr) {
    ChecksumOptions options{.algorithm = parse_checksum_algorithm(algorithm).value(),
                            .cancel = cancel};
    Progress progress;
    options.progress = &progress;
    Result<std::string> sum = ring_->run(checksum_image(image, std::move(options)));
    EXPECT_EQ(ring_->buffers().in_use(), 0U);
    if (sum) EXPECT_EQ(progress.done(), image.virtual_size());
    return sum;
  }
  void expect_right(Image& image) {
    const Bytes seen = ring_->run(guest_bytes(image)).value();
    EXPECT_EQ(try_checksum(image, "sha256").value(), plain(seen));
    EXPECT_EQ(try_checksum(image, "sha256-tree").value(), tree(seen));
  }
  std::unique_ptr<RawImage> raw(std::unique_ptr<File> file) {
    return ring_->run(RawImage::open(std::move(file), "image")).value();
  }
  void close(Image& image) { EXPECT_TRUE(ring_->run(image.close())); }

  std::unique_ptr<Ring> ring_ = Ring::create().value();
};

Bytes random_bytes(std::mt19937_64& rng, std::size_t size) {
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng());
  return bytes;
}

TEST_F(ChecksumImage, OfNoBytesIsThatOfNothing) {
  const auto image = raw(memory_file({}));
  expect_right(*image);
  close(*image);
}

TEST_F(ChecksumImage, IsThatOfTheGuestsBytes) {
  std::mt19937_64 rng(1);
  for (const std::size_t size :
       {std::size_t{512}, std::size_t{kMiB}, std::size_t{5 * kMiB + 512}}) {
    const auto image = raw(memory_file(random_bytes(rng, size)));
    expect_right(*image);
    close(*image);
  }
}

TEST_F(ChecksumImage, RunsOfEveryKindInAnyOrderAddUp) {
  for (unsigned seed = 0; seed < 10; ++seed) {
    std::mt19937_64 rng(seed);
    RunImage image(memory_file(random_bytes(rng, 3 * kMiB)),
                   memory_file(random_bytes(rng, 3 * kMiB)));
    image.set_batch(1 + rng() % 5);
    for (int run = 0; run < 30; ++run) {
      const auto kind = static_cast<MappingKind>(rng() % 4);
      const bool zero = kind == MappingKind::zero || kind == MappingKind::unallocated;
      const std::uint64_t length = 512 * (1 + rng() % (zero ? 8000 : 1000));
      image.add(kind, length, kind == MappingKind::compressed ? 0 : rng() % 2, rng() % kMiB);
    }
    SCOPED_TRACE(seed);
    expect_right(image);
    close(image);
  }
}

TEST_F(ChecksumImage, HugeHolesAreNotRead) {
  const std::uint64_t size = 512 * kMiB + 512;
  const auto image = raw(std::make_unique<MemoryFile>("hole", size));
  Digest expected = Digest::create("md5").value();
  const Bytes zeroes(kMiB);
  for (int i = 0; i < 512; ++i) EXPECT_TRUE(expected.update(zeroes));
  EXPECT_TRUE(expected.update(std::span(zeroes).first(512)));
  EXPECT_EQ(try_checksum(*image, "md5").value(), hex_text(expected.finish().value()));
  close(*image);
}

TEST_F(ChecksumImage, AnyErrorEndsIt) {
  std::mt19937_64 rng(3);
  const Bytes bytes = random_bytes(rng, 4 * kMiB);
  for (const char* const algorithm : {"sha256", "sha256-tree"}) {
    for (std::uint64_t n = 0;; ++n) {
      FaultPlan plan;
      plan.at(FileOperation::read, n, Fault::fails());
      const auto image = raw(std::make_unique<FaultyFile>(memory_file(bytes, "file"), plan));
      const Result<std::string> sum = try_checksum(*image, algorithm);
      close(*image);
      if (plan.faults() == 0) break;
      ASSERT_FALSE(sum) << n;
      EXPECT_EQ(sum.error().kind(), ErrorKind::io);
    }
  }
}

TEST_F(ChecksumImage, ReadsThatOvertakeEachOtherChangeNothing) {
  std::mt19937_64 rng(4);
  const Bytes bytes = random_bytes(rng, 20 * kMiB);
  FaultPlan plan;
  plan.sometimes(0.5, 5, Fault::waits(40));
  const auto image = raw(std::make_unique<FaultyFile>(memory_file(bytes, "file"), plan));
  EXPECT_EQ(try_checksum(*image, "sha256").value(), plain(bytes));
  EXPECT_EQ(try_checksum(*image, "sha256-tree").value(), tree(bytes));
  EXPECT_GT(plan.faults(), 5U);
  close(*image);
}

TEST_F(ChecksumImage, CanBeCancelled) {
  const auto image = raw(std::make_unique<MemoryFile>("hole", kGiB));
  CancelToken cancel;
  cancel.request();
  for (const char* const algorithm : {"sha256", "sha256-tree"}) {
    const Result<std::string> sum = try_checksum(*image, algorithm, &cancel);
    ASSERT_FALSE(sum);
    EXPECT_EQ(sum.error().kind(), ErrorKind::cancelled);
  }
  close(*image);
}

TEST(ParseChecksumAlgorithm, KnowsTrees) {
  EXPECT_FALSE(parse_checksum_algorithm("sha512")->tree);
  EXPECT_TRUE(parse_checksum_algorithm("sha512-tree")->tree);
  EXPECT_EQ(parse_checksum_algorithm("sha512-tree")->digest, "sha512");
  for (const char* const name : {"", "-tree", "sha512-tree-tree", "crc32"}) {
    EXPECT_FALSE(parse_checksum_algorithm(name)) << name;
  }
}

}  // namespace
}  // namespace platter::test
