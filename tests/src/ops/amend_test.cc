#include "src/ops/amend.h"

#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "formats/open.h"
#include "io/bytes.h"
#include "src/ops/create.h"
#include "tests/src/ops/file_tools.h"

namespace platter::test {
namespace {

class AmendImage : public FileTest {
 protected:
  void make(const std::string& format) {
    expect_ok(run(create_image({.filename = path_, .format = format, .size = 1 * kMiB})));
  }
  static Task<void> amend(std::string path, OpenPurpose purpose, qcow2::AmendOptions options,
                          Progress* progress) {
    const OpenedImage opened = co_await open_image(path, {.purpose = purpose}, OpenPolicy());
    Result<void> done = co_await amend_image(*opened.image, std::move(options), progress).result();
    co_await opened.image->close();
    co_await std::move(done);
  }
  Result<void> amend(qcow2::AmendOptions options, OpenPurpose purpose = OpenPurpose::resize) {
    return run(amend(path_, purpose, std::move(options), &progress_));
  }
  static Task<ImageInfo> info_of(std::string path) {
    const OpenedImage opened =
        co_await open_image(path, {.purpose = OpenPurpose::read}, OpenPolicy());
    Result<ImageInfo> info = co_await opened.image->info().result();
    co_await opened.image->close();
    co_return info;
  }
  std::string path_ = folder_ / "image";
  int told_ = 0;
  Progress progress_{[this](const Progress&) { ++told_; }};
};

TEST_F(AmendImage, ChangesWhatIsAskedForAndTellsHowFarItIs) {
  make("qcow2");
  expect_ok(amend({.size = 3 * kMiB, .lazy_refcounts = true, .refcount_bits = 64}));
  EXPECT_GT(told_, 1);
  EXPECT_EQ(progress_.percent(), 100);
  const ImageInfo info = run(info_of(path_)).value();
  EXPECT_EQ(info.virtual_size, 3 * kMiB);
  EXPECT_EQ(info.qcow2->refcount_bits, 64U);
  EXPECT_TRUE(info.qcow2->lazy_refcounts);
  expect_ok(amend({.version = 2, .refcount_bits = 16}));
  EXPECT_EQ(run(info_of(path_))->qcow2->version, 2U);
}

TEST_F(AmendImage, ARawImageHasNothingToAmend) {
  make("raw");
  const Result<void> done = amend({.size = 3 * kMiB});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind(), ErrorKind::unsupported);
  EXPECT_EQ(done.error().message(), "Format driver 'raw' does not support option amendment");
  EXPECT_EQ(status_of(path_).size, 1 * kMiB);
}

TEST_F(AmendImage, OneThatIsOpenForReadingIsLeftAlone) {
  make("qcow2");
  const Bytes before = read_file(path_);
  EXPECT_EQ(amend({.version = 2}, OpenPurpose::read).error().kind(), ErrorKind::read_only);
  EXPECT_EQ(read_file(path_), before);
}

}  // namespace
}  // namespace platter::test
