// Good images with random bytes of their metadata changed: checked and repaired, whatever comes.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/check.h"
#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/run_loop.h"
#include "tests/formats/qcow2/check_tools.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::qcow2 {
namespace {

namespace support = platter::test;

constexpr int kMutantsOfEach = 300;
constexpr auto kTimeMax = std::chrono::seconds(20);

std::vector<std::byte> contents_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return {bytes, bytes + text.size()};
}

// A repair must take effect: a second one finds nothing more that it could mend.
Task<void> check_and_repair(std::vector<std::byte> bytes) {
  MemoryFile file("mutant");
  co_await file.write(0, bytes);
  (void)co_await test::check_file(file).result();
  (void)co_await test::check_file(file, Repair::leaks).result();
  const Result<test::Checked> first = co_await test::check_file(file, Repair::all).result();
  if (!first) co_return;
  const Result<test::Checked> second = co_await test::check_file(file, Repair::all).result();
  if (!second) co_return;
  EXPECT_EQ(second->report.leaks_fixed, 0U);
  EXPECT_EQ(second->report.corruptions_fixed, 0U)
      << testing::PrintToString(first->messages) << testing::PrintToString(second->messages);
}

std::vector<std::byte> mutate(std::vector<std::byte> bytes, std::mt19937_64& random) {
  const int changes = 1 + static_cast<int>(random() % 4);
  for (int change = 0; change < changes; ++change) {
    // A quarter of the changes hit the header; the others any place that holds something.
    std::size_t at = random() % (random() % 4 == 0 ? 112 : bytes.size());
    if (at >= 112) {
      const auto used = std::find_if(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end(),
                                     [](std::byte b) { return b != std::byte{0}; });
      if (used != bytes.end()) at = static_cast<std::size_t>(used - bytes.begin());
    }
    bytes[at] = static_cast<std::byte>(random());
  }
  if (random() % 8 == 0) bytes.resize(random() % bytes.size());
  return bytes;
}

class Qcow2CheckMutants : public testing::TestWithParam<const char*> {};

TEST_P(Qcow2CheckMutants, AreCheckedAndRepairedOrRefusedInBoundedTime) {
  if (!support::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  const support::TempDir folder;
  const std::string path = folder / "good.qcow2";
  const auto created =
      support::run_command("qemu-img", "create", "-q", "-f", "qcow2", "-o", GetParam(), path, "1M");
  ASSERT_TRUE(created.ok()) << created.err;
  // Clusters of zeroes: what is not zero is metadata.
  const auto filled = support::run_command("qemu-io", "-c", "write -P 0 0 200k", "-c",
                                           "write -z 64k 16k", "-c", "write -P 0 512k 64k", path);
  ASSERT_TRUE(filled.ok()) << filled.err;
  ASSERT_TRUE(support::run_command("qemu-img", "snapshot", "-c", "one", path).ok());
  ASSERT_TRUE(support::run_command("qemu-io", "-c", "write -P 0 0 64k", path).ok());
  const std::vector<std::byte> good = contents_of(path);

  const char* given = std::getenv("PLATTER_SEED");
  const unsigned long seed = given != nullptr ? std::strtoul(given, nullptr, 10) : 20261124;
  std::mt19937_64 random(seed);
  RecordProperty("seed", std::to_string(seed));
  for (int i = 0; i < kMutantsOfEach; ++i) {
    const auto start = std::chrono::steady_clock::now();
    RunLoop loop;
    (void)loop.run(check_and_repair(mutate(good, random))).has_value();
    ASSERT_LT(std::chrono::steady_clock::now() - start, kTimeMax) << "mutant " << i;
    ASSERT_FALSE(HasFailure()) << "mutant " << i << ", seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Options, Qcow2CheckMutants,
                         testing::Values("cluster_size=64k", "cluster_size=512",
                                         "cluster_size=4k,refcount_bits=2",
                                         "cluster_size=16k,extended_l2=on",
                                         "compat=0.10,cluster_size=4k",
                                         "cluster_size=4k,refcount_bits=64"));

}  // namespace
}  // namespace platter::qcow2
