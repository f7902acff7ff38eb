// Images whose metadata is damaged, opened for writing: nothing is lost that was there.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/qcow2_image.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "tests/formats/qcow2/open_on.h"
#include "tests/formats/qcow2/tiny_image.h"
#include "tests/support/random_ops.h"
#include "tests/support/shared_file.h"

namespace platter::qcow2 {
namespace {

using Bytes = std::vector<std::byte>;
using test::TinyImage;

class DamagedWrite : public testing::Test {
 protected:
  static constexpr unsigned kData = 8;  // clusters

  void must(Task<void> task) {
    const Result<void> done = ring_->run(std::move(task));
    EXPECT_TRUE(done) << done.error().message();
  }
  std::unique_ptr<Qcow2Image> open() {
    must(file_.write(0, tiny_.bytes));
    auto image =
        ring_->run(open_on(std::make_unique<platter::test::SharedFile>(file_), nullptr, {}, true));
    EXPECT_TRUE(image) << image.error().message();
    return image ? std::move(*image) : nullptr;
  }
  Bytes file_bytes() { return ring_->run(platter::test::read_all(file_)).value(); }

  std::unique_ptr<Ring> ring_ = Ring::create().value();
  TinyImage tiny_{4, kData, /*snapshot=*/false};
  MemoryFile file_{"image"};
};

TEST_F(DamagedWrite, APlacePastTheEndOfTheFileIsNotWritten) {
  for (const std::uint64_t flags : {std::uint64_t{0}, kZeroFlag}) {
    const std::uint64_t end = tiny_.bytes.size();
    for (const std::uint64_t place : {end, end + TinyImage::kCluster, std::uint64_t{1} << 40}) {
      tiny_.put(tiny_.l2_at(1), place | TinyImage::kCopied | flags);
      const auto image = open();
      const Result<void> done = ring_->run(image->write(TinyImage::kCluster, Bytes(512)));
      ASSERT_FALSE(done) << place;
      EXPECT_EQ(done.error().kind(), ErrorKind::corrupt_image);
      EXPECT_NE(done.error().message().find("lies past the end of the file"), std::string::npos)
          << done.error().message();
      EXPECT_EQ(ring_->run(file_.size()).value(), end);
      // The rest of the image can be written.
      must(image->write(0, Bytes(512, std::byte{7})));
      must(image->close());
    }
  }
}

TEST_F(DamagedWrite, TheLastClusterOfAFileMayBeCutShort) {
  const std::uint64_t at = tiny_.bytes.size();
  tiny_.put(tiny_.l2_at(0), at | TinyImage::kCopied);
  tiny_.bytes.resize(at + 100);
  tiny_.set_refcount(at / TinyImage::kCluster, 1);
  const auto image = open();
  const Bytes data(TinyImage::kCluster, std::byte{9});
  must(image->write(0, data));
  must(image->close());
  const Bytes bytes = file_bytes();
  ASSERT_EQ(bytes.size(), at + data.size());
  EXPECT_TRUE(std::ranges::equal(std::span(bytes).subspan(at), data));
}

TEST_F(DamagedWrite, DataThatIsCountedAsFreeIsNotCutOff) {
  tiny_.put(tiny_.l2_at(0), tiny_.bytes.size() | TinyImage::kCopied);
  tiny_.bytes.resize(tiny_.bytes.size() + TinyImage::kCluster, std::byte{5});
  const Bytes before = tiny_.bytes;
  const auto image = open();
  must(image->close());
  EXPECT_TRUE(file_bytes() == before);
}

TEST_F(DamagedWrite, SpaceThatWasTakenAheadBeforeACrashIsGivenBack) {
  must(file_.truncate(64 * kMiB));
  const auto image = open();
  must(image->close());
  // As far as can be told what is a hole.
  EXPECT_LE(file_bytes().size(), MemoryFile::kChunkSize);
}

}  // namespace
}  // namespace platter::qcow2
