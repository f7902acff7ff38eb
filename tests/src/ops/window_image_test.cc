#include "src/ops/window_image.h"

#include <memory>
#include <utility>

#include <gtest/gtest.h>

#include "formats/raw/raw_image.h"
#include "io/memory_file.h"
#include "tests/src/ops/file_tools.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

TEST(BlockWindow, CountsBlocksFromTheStartAndSkipsSomeOfThese) {
  const auto window = [](std::uint64_t block, std::optional<std::uint64_t> count,
                         std::uint64_t skip) {
    const ByteWindow bytes = window_of({.block_size = block, .count = count, .skip = skip}, 6000);
    return std::tuple(bytes.offset, bytes.length, bytes.skips_too_much);
  };
  EXPECT_EQ(window(512, std::nullopt, 0), std::tuple(0U, 6000U, false));
  EXPECT_EQ(window(512, 4, 0), std::tuple(0U, 2048U, false));
  EXPECT_EQ(window(512, 4, 1), std::tuple(512U, 1536U, false));
  EXPECT_EQ(window(512, 4, 4), std::tuple(2048U, 0U, false));
  EXPECT_EQ(window(512, 4, 5), std::tuple(0U, 0U, true));
  EXPECT_EQ(window(6000, std::nullopt, 1), std::tuple(6000U, 0U, false));
  EXPECT_EQ(window(6001, std::nullopt, 1), std::tuple(0U, 0U, true));
  EXPECT_EQ(window(1, ~std::uint64_t{0}, 5999), std::tuple(5999U, 1U, false));
  EXPECT_EQ(window(1 << 20, ~std::uint64_t{0}, 0), std::tuple(0U, 6000U, false));
  EXPECT_EQ(window(1 << 20, std::nullopt, ~std::uint64_t{0}), std::tuple(0U, 0U, true));
}

class Window : public FileTest {
 protected:
  static Task<std::unique_ptr<Image>> open(Bytes bytes, ByteWindow window) {
    auto file = std::make_unique<MemoryFile>("file");
    co_await file->write(0, bytes);
    auto image = co_await RawImage::open(std::move(file), "file");
    co_return std::make_unique<WindowImage>(std::move(image), window);
  }
};

TEST_F(Window, ShowsThePartAndZeroesUpToTheNextSector) {
  const Bytes bytes = random_bytes(5000, 1);
  const auto image = run(open(bytes, {.offset = 700, .length = 1300})).value();
  EXPECT_EQ(image->virtual_size(), 1536U);
  Bytes seen(1536, std::byte{9});
  expect_ok(run(image->read(0, seen)));
  Bytes wanted(bytes.begin() + 700, bytes.begin() + 2000);
  wanted.resize(1536);
  EXPECT_EQ(seen, wanted);
  expect_error(run(image->read(1000, seen)), ErrorKind::out_of_bounds);
  expect_ok(run(image->close()));
}

TEST_F(Window, ItsMappingsCoverAllOfItAndLeadToTheBytes) {
  const Bytes bytes = random_bytes(5000, 2);
  const auto image = run(open(bytes, {.offset = 700, .length = 1300})).value();
  std::uint64_t at = 0;
  while (at < image->virtual_size()) {
    const auto mappings = run(image->map(at, image->virtual_size() - at, 4)).value();
    ASSERT_FALSE(mappings.empty());
    for (const Mapping& mapping : mappings) {
      EXPECT_EQ(mapping.offset, at);
      if (mapping.kind == MappingKind::data) EXPECT_EQ(mapping.file_offset, at + 700);
      at += mapping.length;
    }
  }
  EXPECT_EQ(at, 1536U);
  expect_ok(run(image->close()));
}

}  // namespace
}  // namespace platter::test
