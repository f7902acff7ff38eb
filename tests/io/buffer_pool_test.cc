#include "io/buffer_pool.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/notice.h"
#include "io/ring.h"
#include "tests/io/ring_support.h"
#include "tests/support/in_child.h"

namespace platter {
namespace {

using test::in_child;
using test::scratch_file;

constexpr std::size_t kStep = 64 * kKiB;
constexpr std::size_t kSlab = BufferPool::kSlabSize;

class BufferPools : public ::testing::Test {
 protected:
  BufferPool& pool() { return ring_->buffers(); }
  Buffer acquire(std::size_t size) { return pool().acquire(size).value(); }
  bool uses_io_uring() const { return ring_->engine() == RingEngineKind::io_uring; }
  void end_ring() { ring_.reset(); }

 private:
  std::unique_ptr<Ring> ring_ = Ring::create().value();
};

TEST_F(BufferPools, BuffersOfAnySizeAreAlignedAndWritable) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{511}, std::size_t{4096}, kStep - 1,
                                 kStep, kStep + 1, kSlab - 1, kSlab, kSlab + 1, 5 * kSlab + 77}) {
    const Buffer buffer = acquire(size);
    ASSERT_EQ(buffer.size(), size);
    EXPECT_EQ(buffer.bytes().size(), size);
    EXPECT_EQ(buffer.bytes().data(), buffer.data());
    EXPECT_TRUE(
        is_aligned(reinterpret_cast<std::uintptr_t>(buffer.data()), BufferPool::kAlignment));
    std::memset(buffer.data(), 0xff, size);
  }
  EXPECT_EQ(pool().in_use(), 0U);
}

TEST_F(BufferPools, ABufferThatCameBackIsHandedOutAgain) {
  for (const std::size_t size : {kStep, kSlab}) {
    const std::byte* const first = acquire(size).data();
    EXPECT_EQ(acquire(size).data(), first);
  }
}

TEST_F(BufferPools, InSteadyUseTheMemoryStaysTheSame) {
  constexpr std::size_t kSize = 300'000;  // 5 steps, 6 in a slab
  std::set<const std::byte*> seen;
  for (int round = 0; round < 100; ++round) {
    std::vector<Buffer> buffers;
    for (int i = 0; i < 20; ++i) seen.insert(buffers.emplace_back(acquire(kSize)).data());
  }
  EXPECT_EQ(seen.size(), 20U);
}

TEST_F(BufferPools, CountsWholeStepsInUseAndTheirPeak) {
  EXPECT_EQ(pool().in_use(), 0U);
  {
    const Buffer small = acquire(1);
    EXPECT_EQ(pool().in_use(), kStep);
    const Buffer large = acquire(3 * kSlab + 1);
    EXPECT_EQ(pool().in_use(), kStep + 3 * kSlab + 4096);
  }
  EXPECT_EQ(pool().in_use(), 0U);
  EXPECT_EQ(pool().peak(), kStep + 3 * kSlab + 4096);
}

struct Filled {
  Buffer buffer;
  unsigned char pattern;
};

bool intact(const Filled& filled) {
  return std::ranges::all_of(filled.buffer.bytes(),
                             [&](std::byte byte) { return byte == std::byte{filled.pattern}; });
}

TEST_F(BufferPools, InRandomUseNoTwoBuffersOverlap) {
  std::minstd_rand random(42);
  std::vector<Filled> live;
  auto take_out = [&](std::size_t index) {
    std::swap(live[index], live.back());
    EXPECT_TRUE(intact(live.back()));
    live.pop_back();
  };
  for (int step = 0; step < 4000; ++step) {
    const bool grow = live.size() < 5 || (live.size() < 60 && random() % 2 == 0);
    if (grow) {
      const std::size_t size_max = random() % 40 == 0  ? 3 * kSlab
                                   : random() % 4 == 0 ? kSlab
                                                       : kStep;
      Filled filled{acquire(1 + random() % size_max), static_cast<unsigned char>(step % 251)};
      std::memset(filled.buffer.data(), filled.pattern, filled.buffer.size());
      live.push_back(std::move(filled));
    } else {
      take_out(random() % live.size());
    }
    if (random() % 100 == 0) pool().trim();
  }
  while (!live.empty()) take_out(live.size() - 1);
  EXPECT_EQ(pool().in_use(), 0U);
}

TEST_F(BufferPools, ABufferThatMovesComesBackOnce) {
  Buffer first = acquire(kStep);
  const std::byte* const data = first.data();
  Buffer second = std::move(first);
  EXPECT_EQ(first.data(), nullptr);  // NOLINT: it is empty, not undefined
  EXPECT_EQ(second.data(), data);
  Buffer third = acquire(kStep);
  third = std::move(second);  // what it had before comes back
  EXPECT_EQ(third.data(), data);
  EXPECT_EQ(pool().in_use(), kStep);
  third = Buffer();
  EXPECT_EQ(pool().in_use(), 0U);
}

TEST_F(BufferPools, MoreThanTheAddressSpaceIsAnErrorNotACrash) {
  for (const std::size_t size :
       {std::size_t{1} << 47, std::size_t{1} << 60, SIZE_MAX - 5000, SIZE_MAX}) {
    const Result<Buffer> result = pool().acquire(size);
    ASSERT_FALSE(result) << size;
    EXPECT_EQ(result.error().kind(), ErrorKind::out_of_memory);
  }
  EXPECT_EQ(pool().in_use(), 0U);
  EXPECT_TRUE(pool().acquire(kSlab));
}

bool is_mapped(const std::byte* at) {
  unsigned char resident = 0;
  return ::mincore(const_cast<std::byte*>(at), 4096, &resident) == 0;
}

TEST_F(BufferPools, TrimGivesUnusedSlabsBackAndNoOthers) {
  std::vector<Buffer> buffers;
  std::vector<const std::byte*> slabs;
  for (int i = 0; i < 5; ++i) slabs.push_back(buffers.emplace_back(acquire(kSlab)).data());
  pool().trim();
  for (const std::byte* slab : slabs) EXPECT_TRUE(is_mapped(slab));
  std::memset(buffers[3].data(), 7, kSlab);
  buffers.erase(buffers.begin() + 4);
  buffers.erase(buffers.begin(), buffers.begin() + 3);  // the fourth remains
  pool().trim();
  EXPECT_FALSE(is_mapped(slabs[4]));
  EXPECT_FALSE(is_mapped(slabs[2]));
  EXPECT_TRUE(is_mapped(slabs[3]));
  EXPECT_EQ(buffers[0].data()[kSlab - 1], std::byte{7});
  // Registered memory belongs to the kernel as well: it stays.
  EXPECT_EQ(is_mapped(slabs[0]), pool().registered());
  const Buffer again = acquire(kSlab);
  std::memset(again.data(), 1, kSlab);
}

// ---- Registered memory

TEST_F(BufferPools, TheFirstMebibytesAreRegisteredAndNothingElse) {
  if (!uses_io_uring()) GTEST_SKIP() << "io_uring is forbidden here";
  EXPECT_FALSE(pool().registered());  // nothing was needed yet
  const Buffer first = acquire(kSlab);
  const Buffer second = acquire(kSlab);
  const Buffer third = acquire(kSlab);
  const Buffer large = acquire(2 * kSlab);
  EXPECT_TRUE(pool().registered());
  EXPECT_EQ(pool().fixed_index(first.data()), 0);
  EXPECT_EQ(pool().fixed_index(second.data() + kSlab - 1), 0);
  EXPECT_EQ(pool().fixed_index(third.data()), -1);
  EXPECT_EQ(pool().fixed_index(large.data()), -1);
  EXPECT_EQ(pool().fixed_index(&first), -1);
  EXPECT_EQ(pool().fixed_index(nullptr), -1);
  static_assert(BufferPool::kRegisteredSize <= 4 * kMiB);
}

Task<void> write_and_read(Ring& ring, RingFile file) {
  const Buffer out = co_await ring.buffers().acquire(kSlab);
  const Buffer in = co_await ring.buffers().acquire(kSlab);
  std::memset(out.data(), 0x3c, out.size());
  EXPECT_EQ(co_await ring.write(file, out.bytes(), 0), static_cast<int>(kSlab));
  EXPECT_EQ(co_await ring.read(file, in.bytes(), 0), static_cast<int>(kSlab));
  EXPECT_TRUE(std::ranges::equal(out.bytes(), in.bytes()));
}

/// A ring's own queues count as locked memory too on new kernels, by user, and are given back only
/// a little after a process has ended: there may be others of this user.
Result<std::unique_ptr<Ring>> create_patiently(const RingOptions& options) {
  for (int attempt = 0;; ++attempt) {
    Result<std::unique_ptr<Ring>> ring = Ring::create(options);
    if (ring || attempt == 200) return ring;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void check_with_little_locked_memory(const RingOptions& options) {
  const UniqueFd file = scratch_file();
  const rlimit little{.rlim_cur = 64 * kKiB, .rlim_max = 64 * kKiB};
  ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &little), 0);
  test::become_nobody();
  int notices = 0;
  set_notice_handler([&notices](std::string_view) { ++notices; });
  const Result<std::unique_ptr<Ring>> ring = create_patiently(options);
  ASSERT_TRUE(ring) << ring.error().message();
  const int slot = (*ring)->register_file(file.get());
  EXPECT_TRUE((*ring)->run(write_and_read(**ring, {.fd = file.get(), .slot = slot})));
  EXPECT_FALSE((*ring)->buffers().registered());
  EXPECT_FALSE((*ring)->features().registered_buffers);
  EXPECT_EQ(notices, 0);
}

TEST(BufferPool, WhereLittleMemoryMayBeLockedAllWorksUnregisteredWithoutAWord) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  for (const test::EngineCase& engine : test::engine_cases()) {
    SCOPED_TRACE(engine.name);
    EXPECT_TRUE(in_child([&] { check_with_little_locked_memory(engine.options); }));
  }
}

TEST(BufferPool, OnThreadsNothingIsRegistered) {
  const std::unique_ptr<Ring> ring = Ring::create({.engine = RingEngineKind::threads}).value();
  const Buffer buffer = ring->buffers().acquire(kSlab).value();
  EXPECT_FALSE(ring->buffers().registered());
  EXPECT_EQ(ring->buffers().fixed_index(buffer.data()), -1);
}

// ---- Mistakes

using BufferPoolsDeathTest = BufferPools;

TEST_F(BufferPoolsDeathTest, AnEmptyBufferMayNotBeAskedFor) {
  EXPECT_DEATH((void)pool().acquire(0), "CHECK failed: size > 0");
}

TEST_F(BufferPoolsDeathTest, ABufferMayNotOutliveItsRing) {
  EXPECT_DEATH(
      {
        const Buffer buffer = acquire(1);
        end_ring();
      },
      "CHECK failed: in_use_ == 0");
}

#if __has_feature(address_sanitizer)
TEST_F(BufferPoolsDeathTest, AddressSanitizerSeesTheUseOfABufferThatCameBack) {
  const volatile std::byte* const data = acquire(4096).data();
  EXPECT_DEATH((void)*data, "use-after-poison");
  const Buffer buffer = acquire(4096);
  const volatile std::byte* const beyond = buffer.data() + buffer.size();
  EXPECT_DEATH((void)*beyond, "use-after-poison");
}
#endif

}  // namespace
}  // namespace platter
