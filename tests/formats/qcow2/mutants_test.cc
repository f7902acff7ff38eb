// Broken images: good ones, made by qemu-img, with random bytes of their metadata changed.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/bitmaps.h"
#include "formats/qcow2/qcow2_image.h"
#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::qcow2 {
namespace {

constexpr int kMutantsOfEach = 400;

std::vector<std::byte> contents_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return {bytes, bytes + text.size()};
}

// Everything that can be asked of an image without a file of its own beside it.
Task<void> use_image(std::vector<std::byte> bytes) {
  auto file = std::make_unique<MemoryFile>("mutant");
  co_await file->write(0, bytes);
  auto image = co_await Qcow2Image::open(std::move(file), "mutant", 16 * kMiB);
  (void)co_await image->info().result();
  co_await image->connect(nullptr, nullptr);
  const std::uint64_t size = image->virtual_size();
  std::vector<std::byte> buffer(1 * kMiB);
  for (const std::uint64_t at : {std::uint64_t{0}, size / 2, size - std::min(size, 1 * kMiB)}) {
    const std::size_t length = std::min<std::uint64_t>(buffer.size(), size - at);
    (void)co_await image->read(at, std::span(buffer).first(length)).result();
    (void)co_await image->map(at, size - at, 1000).result();
  }
  co_await image->close();
}

Task<void> change_bitmaps(Qcow2Image& image) {
  Bitmaps& bitmaps = *image.bitmaps();
  (void)co_await image.read_bitmap("first").result();
  (void)co_await bitmaps.clear("first").result();
  (void)co_await bitmaps.add({.name = "third"}).result();
  const Result<DirtyBits> bits = co_await image.read_bitmap("second").result();
  if (bits) (void)co_await bitmaps.merge("third", *bits).result();
  (void)co_await bitmaps.save().result();
  (void)co_await bitmaps.set_enabled("first", false).result();
  (void)co_await bitmaps.remove("second").result();
}

// All that writes. What is refused is refused; nothing crashes, hangs or takes much memory.
Task<void> write_image(std::vector<std::byte> bytes) {
  auto file = std::make_unique<MemoryFile>("mutant");
  co_await file->write(0, bytes);
  auto image = co_await Qcow2Image::open(std::move(file), "mutant", 16 * kMiB);
  const Result<void> opened = co_await image->connect(nullptr, nullptr, /*writable=*/true).result();
  if (opened) {
    const std::uint64_t size = image->virtual_size();
    const std::vector<std::byte> data(100 * kKiB, std::byte{5});
    for (const std::uint64_t at : {std::uint64_t{0}, size / 2, size - std::min(size, 1 * kMiB)}) {
      const std::size_t length = std::min<std::uint64_t>(data.size(), size - at);
      (void)co_await image->write(at, std::span(data).first(length)).result();
      (void)co_await image->write_zeroes(at, length / 2, ZeroMode::may_unmap).result();
      (void)co_await image->discard(at, length).result();
    }
    (void)co_await image->flush().result();
    co_await change_bitmaps(*image);
    if (size < 64 * kMiB) (void)co_await image->resize(size + 9 * kMiB, {}).result();
    if (size < 64 * kMiB) (void)co_await image->resize(size / 1024 * 512, {}).result();
  }
  (void)co_await image->close().result();
}

struct Maker {
  const char* options;
  const char* fill;
};

class Qcow2Mutants : public testing::TestWithParam<Maker> {};

TEST_P(Qcow2Mutants, AreReadAndWrittenOrRefusedButNeverCrashOrHang) {
  if (!test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  const test::TempDir folder;
  const std::string path = folder / "good.qcow2";
  const auto created = test::run_command("qemu-img", "create", "-q", "-f", "qcow2", "-o",
                                         GetParam().options, path, "8M");
  ASSERT_TRUE(created.ok()) << created.err;
  const auto filled = test::run_command("qemu-io", "-c", GetParam().fill, "-c",
                                        "write -P 5 3M 100k", "-c", "write -z 6M 64k", path);
  ASSERT_TRUE(filled.ok()) << filled.err;
  ASSERT_TRUE(test::run_command("qemu-img", "snapshot", "-c", "one", path).ok());
  if (!std::string(GetParam().options).contains("compat=0.10")) {
    for (const char* name : {"first", "second"}) {
      ASSERT_TRUE(test::run_command("qemu-img", "bitmap", "--add", "-g", "4k", path, name).ok());
    }
    ASSERT_TRUE(test::run_command("qemu-io", "-c", "write -P 6 4M 30k", path).ok());
  }
  const std::vector<std::byte> good = contents_of(path);

  const char* given = std::getenv("PLATTER_SEED");
  const unsigned long seed = given != nullptr ? std::strtoul(given, nullptr, 10) : 20261122;
  std::mt19937_64 random(seed);
  RecordProperty("seed", std::to_string(seed));
  const auto ring = Ring::create();
  ASSERT_TRUE(ring);
  ASSERT_TRUE((*ring)->run(use_image(good)));
  ASSERT_TRUE((*ring)->run(write_image(good)));
  for (int i = 0; i < kMutantsOfEach; ++i) {
    std::vector<std::byte> mutant = good;
    const int changes = 1 + static_cast<int>(random() % 4);
    for (int change = 0; change < changes; ++change) {
      // Half of the changes hit the header; the others any place that holds something.
      std::size_t at = random() % (random() % 2 == 0 ? 512 : mutant.size());
      if (at >= 512) {
        const auto used = std::find_if(mutant.begin() + static_cast<std::ptrdiff_t>(at),
                                       mutant.end(), [](std::byte b) { return b != std::byte{0}; });
        if (used != mutant.end()) at = static_cast<std::size_t>(used - mutant.begin());
      }
      mutant[at] = static_cast<std::byte>(random());
    }
    if (random() % 8 == 0) mutant.resize(random() % mutant.size());
    (void)(*ring)->run(write_image(mutant)).has_value();
    (void)(*ring)->run(use_image(std::move(mutant))).has_value();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Options, Qcow2Mutants,
    testing::Values(Maker{"cluster_size=64k", "write -c -P 9 0 2M"},
                    Maker{"cluster_size=512", "write -c -P 9 0 64k"},
                    Maker{"cluster_size=4k,compression_type=zstd", "write -c -P 9 0 2M"},
                    Maker{"cluster_size=16k,extended_l2=on", "write -P 9 0 70k"},
                    Maker{"compat=0.10,cluster_size=4k", "write -P 9 0 70k"}));

}  // namespace
}  // namespace platter::qcow2
