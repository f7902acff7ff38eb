#include "formats/raw/raw_image.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/direct_file.h"
#include "io/memory_file.h"
#include "io/new_file.h"
#include "io/ring.h"
#include "tests/support/fake_image.h"
#include "tests/support/faulty_file.h"
#include "tests/support/random_ops.h"
#include "tests/support/temp_dir.h"

namespace platter::test {
namespace {

using Bytes = std::vector<std::byte>;
using enum MappingKind;

class RawImages : public testing::Test {
 protected:
  template <class T>
  T get(Task<T> task) {
    Result<T> result = ring_->run(std::move(task));
    if (!result) ADD_FAILURE() << result.error().message();
    if constexpr (!std::is_void_v<T>) return std::move(result).value();
  }
  template <class T>
  ErrorKind error(Task<T> task) {
    const Result<T> result = ring_->run(std::move(task));
    EXPECT_FALSE(result) << "this should fail";
    return result ? ErrorKind::io : result.error().kind();
  }
  std::unique_ptr<RawImage> open(std::unique_ptr<File> file) {
    return get(RawImage::open(std::move(file), "the name"));
  }
  std::unique_ptr<RawImage> open(const Bytes& bytes) { return open(memory_file(bytes)); }
  Bytes read(RawImage& image, std::uint64_t offset, std::size_t length) {
    Bytes bytes(length, std::byte{0x77});
    get(image.read(offset, bytes));
    return bytes;
  }

  std::unique_ptr<Ring> ring_ = Ring::create().value();
};

TEST_F(RawImages, TheFileIsTheImage) {
  const Bytes bytes = random_bytes(10'240, 1);
  const auto image = open(bytes);
  EXPECT_EQ(image->virtual_size(), 10'240U);
  EXPECT_EQ(image->format(), "raw");
  EXPECT_EQ(image->filename(), "the name");
  EXPECT_FALSE(image->read_only());
  EXPECT_EQ(get(guest_bytes(*image)), bytes);
  get(image->close());
}

TEST_F(RawImages, AnEmptyFileIsAnEmptyImage) {
  const auto image = open(Bytes());
  EXPECT_EQ(image->virtual_size(), 0U);
  EXPECT_TRUE(get(image->map(0, 0, 10)).empty());
  EXPECT_EQ(error(image->map(0, 1, 10)), ErrorKind::out_of_bounds);
}

TEST_F(RawImages, OddSizesArePaddedToWholeSectors) {
  for (const std::size_t size : {1, 511, 512, 513, 1000, 4097}) {
    Bytes bytes = random_bytes(size, size);
    const auto image = open(bytes);
    bytes.resize(align_up(size, 512));
    EXPECT_EQ(image->virtual_size(), bytes.size());
    EXPECT_EQ(get(guest_bytes(*image)), bytes);
    EXPECT_EQ(get(image->file().size()), size) << "reading does not change the file";
  }
}

TEST_F(RawImages, ThePaddingIsMappedAsZeroes) {
  const auto image = open(random_bytes(1000, 1));
  const auto mappings = get(image->map(0, 1024, 10));
  ASSERT_EQ(mappings.size(), 2U);
  EXPECT_EQ(mappings[0].length, 1000U);
  EXPECT_EQ(mappings[0].kind, data);
  EXPECT_EQ(mappings[1].offset, 1000U);
  EXPECT_EQ(mappings[1].length, 24U);
  EXPECT_EQ(mappings[1].kind, zero);
  EXPECT_EQ(get(image->map(0, 1024, 1)).size(), 1U);
  EXPECT_EQ(get(image->map(1010, 5, 10)).at(0).kind, zero);
}

TEST_F(RawImages, WritingIntoThePaddingMakesTheFileLonger) {
  const auto image = open(random_bytes(1000, 1));
  const Bytes two(2, std::byte{1});
  get(image->write(1010, two));
  EXPECT_EQ(get(image->file().size()), 1012U);
  EXPECT_EQ(read(*image, 1000, 24)[10], std::byte{1});
  EXPECT_EQ(read(*image, 1000, 24)[9], std::byte{0});
  EXPECT_EQ(image->virtual_size(), 1024U);
}

TEST_F(RawImages, HolesAreMappedAsZeroesWithTheirPlace) {
  auto file = std::make_unique<MemoryFile>("sparse", kMiB);
  const Bytes some(100, std::byte{1});
  get(file->write(128 * kKiB, some));
  const auto image = open(std::move(file));
  const auto mappings = get(image->map(0, kMiB, 10));
  ASSERT_EQ(mappings.size(), 3U);
  EXPECT_EQ(mappings[0].kind, zero);
  EXPECT_EQ(mappings[0].length, 128 * kKiB);
  EXPECT_EQ(mappings[1].kind, data);
  EXPECT_EQ(mappings[1].file_offset, 128 * kKiB);
  EXPECT_EQ(mappings[1].file, &image->file());
  EXPECT_EQ(mappings[2].file, &image->file());
  EXPECT_EQ(mappings[2].file_offset, mappings[2].offset);
  const auto part = get(image->map(130 * kKiB, 10, 10));
  ASSERT_EQ(part.size(), 1U);
  EXPECT_EQ(part[0].offset, 130 * kKiB);
  EXPECT_EQ(part[0].length, 10U);
}

TEST_F(RawImages, NothingReachesPastTheEnd) {
  const auto image = open(Bytes(4096));
  Bytes two(2);
  for (const std::uint64_t offset : {std::uint64_t{4095}, std::uint64_t{4097}, ~std::uint64_t{0}}) {
    EXPECT_EQ(error(image->read(offset, two)), ErrorKind::out_of_bounds);
    EXPECT_EQ(error(image->write(offset, two)), ErrorKind::out_of_bounds);
    EXPECT_EQ(error(image->map(offset, 2, 1)), ErrorKind::out_of_bounds);
    EXPECT_EQ(error(image->prepare_write(offset, 2)), ErrorKind::out_of_bounds);
    EXPECT_EQ(error(image->write_zeroes(offset, 2, ZeroMode::may_unmap)), ErrorKind::out_of_bounds);
    EXPECT_EQ(error(image->discard(offset, 2)), ErrorKind::out_of_bounds);
  }
  EXPECT_EQ(get(image->file().size()), 4096U);
  get(image->read(4096, std::span<std::byte>()));
}

TEST_F(RawImages, APlaceToWriteIsThePlaceInTheFile) {
  const auto image = open(Bytes(4096));
  const WritePlace place = get(image->prepare_write(100, 200));
  EXPECT_EQ(place.file, &image->file());
  EXPECT_EQ(place.file_offset, 100U);
  EXPECT_EQ(place.length, 200U);
  EXPECT_EQ(place.guest_offset, 100U);
  get(image->commit_write(place));
}

TEST_F(RawImages, ZeroesAndDiscardsReachTheFile) {
  const auto image = open(random_bytes(kMiB, 1));
  const auto& file = dynamic_cast<MemoryFile&>(image->file());
  get(image->write_zeroes(0, 64 * kKiB, ZeroMode::may_unmap));
  get(image->discard(64 * kKiB, 64 * kKiB));
  EXPECT_EQ(file.allocated(), kMiB - 128 * kKiB);
  get(image->write_zeroes(0, 64 * kKiB, ZeroMode::keep_allocated));
  EXPECT_EQ(file.allocated(), kMiB - 64 * kKiB);
  EXPECT_EQ(read(*image, 0, 128 * kKiB), Bytes(128 * kKiB));
}

TEST_F(RawImages, ZeroesInThePaddingLeaveTheImageAsItIs) {
  Bytes bytes = random_bytes(1000, 1);
  const auto image = open(bytes);
  get(image->write_zeroes(512, 512, ZeroMode::may_unmap));
  get(image->discard(1000, 24));
  bytes.resize(1024);
  std::fill(bytes.begin() + 512, bytes.end(), std::byte{0});
  EXPECT_EQ(get(guest_bytes(*image)), bytes);
}

TEST_F(RawImages, GrowsWithZeroesAndIsCutOff) {
  Bytes bytes = random_bytes(5000, 1);
  const auto image = open(bytes);
  for (const std::uint64_t size : {8192, 4096, 4100, 4099, 20'000, 0, 512}) {
    get(image->resize(size, {}));
    bytes.resize(size);
    EXPECT_EQ(get(image->file().size()), size);
    EXPECT_EQ(image->virtual_size(), align_up(size, 512));
    Bytes padded = bytes;
    padded.resize(align_up(size, 512));
    EXPECT_EQ(get(guest_bytes(*image)), padded);
  }
}

TEST_F(RawImages, TooLargeASizeIsRefused) {
  const auto image = open(Bytes(512));
  const std::uint64_t largest = align_down(kMaxFileSize, 512);
  EXPECT_EQ(error(image->resize(largest + 1, {})), ErrorKind::too_large);
  EXPECT_EQ(error(image->resize(~std::uint64_t{0}, {})), ErrorKind::too_large);
  EXPECT_EQ(image->virtual_size(), 512U);
  get(image->resize(largest, {}));
  EXPECT_EQ(image->virtual_size(), largest);
}

TEST_F(RawImages, AFileThatIsTooLargeIsRefused) {
  EXPECT_EQ(error(RawImage::open(std::make_unique<MemoryFile>("huge", kMaxFileSize), "huge")),
            ErrorKind::too_large);
}

TEST_F(RawImages, AFileThatIsCutIsNoticed) {
  const auto image = open(random_bytes(100'000, 1));
  get(image->file().truncate(50'000));
  Bytes some(4096);
  EXPECT_EQ(error(image->read(49'999, some)), ErrorKind::file_changed);
  EXPECT_EQ(error(image->read(90'000, some)), ErrorKind::file_changed);
  EXPECT_EQ(error(image->map(50'000, 4096, 10)), ErrorKind::file_changed);
  get(image->read(45'000, some));
  const Mapping last = get(image->map(0, 100'000, 10)).back();
  EXPECT_EQ(last.offset + last.length, 50'000U);
}

TEST_F(RawImages, WhatWasOpenedForReadingIsNotChanged) {
  const TempDir folder;
  const std::string path = folder / "a.img";
  {
    auto file = get(NewFile::create(path, {}));
    auto taken = file->take_file();
    get(taken->truncate(4096));
    get(file->publish(*taken));
    get(taken->close());
  }
  const auto image = open(get(DirectFile::open(path, {})));
  EXPECT_TRUE(image->read_only());
  const Bytes two(2);
  EXPECT_EQ(error(image->write(0, two)), ErrorKind::read_only);
  EXPECT_EQ(error(image->prepare_write(0, 2)), ErrorKind::read_only);
  EXPECT_EQ(error(image->write_zeroes(0, 2, ZeroMode::may_unmap)), ErrorKind::read_only);
  EXPECT_EQ(error(image->discard(0, 2)), ErrorKind::read_only);
  EXPECT_EQ(error(image->resize(0, {})), ErrorKind::read_only);
  EXPECT_EQ(get(image->info()).virtual_size, 4096U);
  EXPECT_EQ(get(image->info()).actual_size, 0U);
  get(image->close());
}

TEST_F(RawImages, AFailedFlushIsTold) {
  FaultPlan plan;
  plan.at(FileOperation::flush, 0, Fault::fails());
  const auto image = open(std::make_unique<FaultyFile>(memory_file(Bytes(512)), plan));
  EXPECT_EQ(error(image->flush()), ErrorKind::io);
  EXPECT_EQ(error(image->flush()), ErrorKind::io);
}

TEST_F(RawImages, ErrorsNameTheFileAndThePlace) {
  FaultPlan plan;
  plan.from(0, Fault::fails());
  const auto image = open(std::make_unique<FaultyFile>(memory_file(Bytes(4096), "disk"), plan));
  Bytes some(512);
  const Result<void> done = ring_->run(image->read(1024, some));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message(), "Could not read 'disk' at offset 1024: Input/output error");
}

}  // namespace
}  // namespace platter::test
