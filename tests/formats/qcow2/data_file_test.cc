// Images whose guest data is in a file of its own.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/create.h"
#include "formats/qcow2/qcow2_image.h"
#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "tests/formats/qcow2/open_on.h"
#include "tests/support/random_ops.h"
#include "tests/support/shared_file.h"

namespace platter::qcow2 {
namespace {

using Bytes = std::vector<std::byte>;

// A file that can't be made longer or shorter.
class Device final : public test::SharedFile {
 public:
  using SharedFile::SharedFile;
  const FileTraits& traits() const noexcept override { return traits_; }
  Task<void> truncate(std::uint64_t) override {
    co_await fail(ErrorKind::unsupported, "a device has the size that it has");
  }

 private:
  FileTraits traits_{.is_block_device = true};
};

class DataFile : public testing::TestWithParam<bool> {
 protected:
  void must(Task<void> task) {
    const Result<void> done = ring_->run(std::move(task));
    EXPECT_TRUE(done) << done.error().message();
  }
  void make(std::uint64_t size) {
    CreateOptions options;
    options.size = size;
    options.data_file = "data";
    options.data_file_raw = GetParam();
    must(create_qcow2(file_, &data_, plan_image(options).value()));
  }
  std::unique_ptr<Qcow2Image> open(bool device = false) {
    std::unique_ptr<File> data = std::make_unique<test::SharedFile>(data_);
    if (device) data = std::make_unique<Device>(data_);
    auto image =
        ring_->run(open_on(std::make_unique<test::SharedFile>(file_), std::move(data), {}, true));
    EXPECT_TRUE(image) << image.error().message();
    return image ? std::move(*image) : nullptr;
  }
  Bytes guest_bytes(Image& image) {
    Bytes bytes(image.virtual_size());
    must(image.read(0, bytes));
    return bytes;
  }
  Bytes file_bytes() { return ring_->run(test::read_all(data_)).value(); }

  std::unique_ptr<Ring> ring_ = Ring::create().value();
  MemoryFile file_{"image"};
  MemoryFile data_{"data"};
};

TEST_P(DataFile, IsAsLongAsTheDiskAndHoldsNothingOldAfterAResize) {
  make(1 * kMiB);
  const auto image = open();
  Bytes model = test::random_bytes(1 * kMiB, 1);
  must(image->write(0, model));
  for (const std::uint64_t size :
       {3 * kMiB + 512, 200 * kKiB, 2 * kMiB, 100 * kKiB + 512, 512 * kKiB}) {
    must(image->resize(size, {}));
    model.resize(size);
    EXPECT_EQ(file_bytes().size(), size);
    EXPECT_TRUE(guest_bytes(*image) == model) << size;
    EXPECT_TRUE(file_bytes() == model) << size;
  }
  must(image->close());
}

TEST_P(DataFile, WhatItHeldBehindTheDiskDoesNotShowWhenThatGrows) {
  make(1 * kMiB);
  must(data_.write(1 * kMiB, test::random_bytes(2 * kMiB, 2)));
  const auto image = open();
  for (const Preallocation mode :
       {Preallocation::off, Preallocation::metadata, Preallocation::falloc, Preallocation::full}) {
    const std::uint64_t size = image->virtual_size() + 300 * kKiB;
    must(image->resize(size, {.preallocation = mode}));
    EXPECT_TRUE(file_bytes() == Bytes(size)) << to_string(mode);
    EXPECT_TRUE(guest_bytes(*image) == Bytes(size)) << to_string(mode);
  }
  must(image->close());
}

TEST_P(DataFile, OnADeviceHoldsNothingOldAfterAResizeAndIsTheLimit) {
  make(1 * kMiB);
  must(data_.truncate(3 * kMiB));
  const auto image = open(/*device=*/true);
  Bytes model = test::random_bytes(1 * kMiB, 3);
  must(image->write(0, model));
  for (const std::uint64_t size : {300 * kKiB, 3 * kMiB}) {
    must(image->resize(size, {}));
    model.resize(size);
    EXPECT_TRUE(guest_bytes(*image) == model) << size;
    EXPECT_EQ(file_bytes().size(), 3 * kMiB);
  }
  if (GetParam()) EXPECT_TRUE(file_bytes() == model);
  const Result<void> done = ring_->run(image->resize(4 * kMiB, {}));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind(), ErrorKind::no_space) << done.error().message();
  EXPECT_EQ(image->virtual_size(), 3 * kMiB);
  must(image->close());
}

INSTANTIATE_TEST_SUITE_P(RawOrNot, DataFile, testing::Bool(),
                         [](const auto& raw) { return raw.param ? "raw" : "own"; });

}  // namespace
}  // namespace platter::qcow2
