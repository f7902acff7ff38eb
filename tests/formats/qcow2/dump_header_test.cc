#include "formats/qcow2/dump_header.h"

#include <cstring>

#include <gtest/gtest.h>

#include "io/memory_file.h"
#include "io/run_loop.h"
#include "tests/formats/qcow2/tiny_image.h"

namespace platter::qcow2::test {
namespace {

Result<RawHeader> read(const std::vector<std::byte>& bytes) {
  auto work = [&bytes]() -> Task<RawHeader> {
    MemoryFile file("image");
    co_await file.write(0, bytes);
    co_return co_await read_raw_header(file);
  };
  RunLoop loop;
  return loop.run(work());
}

void put_extension(TinyImage& image, std::uint64_t at, std::uint32_t type, std::uint32_t length,
                   std::string_view data) {
  image.put32(at, type);
  image.put32(at + 4, length);
  std::memcpy(image.bytes.data() + at + 8, data.data(), data.size());
}

TEST(ReadRawHeader, ASoundHeaderHasNoProblems) {
  const TinyImage image(4, 3, false);
  const auto header = read(image.bytes);
  ASSERT_TRUE(header);
  EXPECT_TRUE(header->problems.empty());
  EXPECT_TRUE(header->extensions.empty());
  EXPECT_EQ(header->disk.cluster_bits, 9U);
  EXPECT_EQ(header->file_size, image.bytes.size());
  ASSERT_TRUE(header->geometry);
  EXPECT_EQ(header->geometry->l1_size, 4U);
}

TEST(ReadRawHeader, ExtensionsOfAnyTypeAreKept) {
  TinyImage image(4, 3, false);
  put_extension(image, 112, kExtensionBackingFormat, 3, "raw");
  put_extension(image, 128, 0x1234, 5, "hello");
  const auto header = read(image.bytes);
  ASSERT_EQ(header->extensions.size(), 2U);
  EXPECT_EQ(extension_name(header->extensions[0].type), "backing-format");
  EXPECT_EQ(extension_name(header->extensions[1].type), "unknown");
  EXPECT_EQ(header->extensions[1].offset, 128U);
  EXPECT_EQ(header->extensions[1].data.size(), 5U);
}

TEST(ReadRawHeader, AnExtensionThatDoesNotFitIsAProblem) {
  TinyImage image(4, 3, false);
  put_extension(image, 112, 0x1234, 100'000, "");
  const auto header = read(image.bytes);
  ASSERT_EQ(header->extensions.size(), 1U);
  EXPECT_TRUE(header->extensions[0].problem);
  EXPECT_EQ(header->extensions[0].data.size(), 512U - 120);
  EXPECT_FALSE(header->problems.empty());
  EXPECT_TRUE(header->geometry);
}

TEST(ReadRawHeader, WithoutAPossibleClusterSizeThereIsNoGeometry) {
  TinyImage image(4, 3, false);
  image.put32(20, 60);
  const auto header = read(image.bytes);
  ASSERT_TRUE(header);
  EXPECT_FALSE(header->geometry);
  EXPECT_FALSE(header->problems.empty());
}

TEST(ReadRawHeader, ABackingNameInAnImpossiblePlaceIsAProblem) {
  TinyImage image(4, 3, false);
  image.put(8, ~std::uint64_t{0} - 3);
  image.put32(16, 5);
  const auto header = read(image.bytes);
  EXPECT_FALSE(header->backing_file);
  EXPECT_EQ(header->problems.size(), 2U);
}

TEST(ReadRawHeader, CutFilesAreRead) {
  const TinyImage image(4, 3, false);
  for (std::size_t size = 4; size < 120; ++size) {
    std::vector<std::byte> cut(image.bytes.begin(),
                               image.bytes.begin() + static_cast<std::ptrdiff_t>(size));
    ASSERT_TRUE(read(cut)) << size;
  }
  EXPECT_FALSE(read({}));
}

TEST(FeatureNames, UnknownBitsHaveNumbers) {
  EXPECT_EQ(feature_names(FeatureKind::incompatible, 1 | 16 | (1ULL << 40)),
            (std::vector<std::string>{"dirty", "extended-l2", "bit 40"}));
  EXPECT_TRUE(feature_names(FeatureKind::autoclear, 0).empty());
}

}  // namespace
}  // namespace platter::qcow2::test
