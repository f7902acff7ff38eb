#include "io/frame_pool.h"

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace platter {
namespace {

TEST(FramePool, FramesOfEverySizeAreAlignedApartAndWritable) {
  std::vector<std::pair<unsigned char*, std::size_t>> frames;
  for (std::size_t size = 1; size <= 8192; size += size < 200 ? 1 : 61) {
    auto* frame = static_cast<unsigned char*>(FramePool::allocate(size));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(frame) % 16, 0U);
    std::memset(frame, static_cast<int>(frames.size() % 251), size);
    frames.emplace_back(frame, size);
  }
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto [frame, size] = frames[i];
    EXPECT_EQ(frame[0], i % 251);
    EXPECT_EQ(frame[size - 1], i % 251);
    FramePool::release(frame, size);
  }
  FramePool::trim();
}

TEST(FramePool, AReleasedFrameIsTheNextOneOfItsSizeClass) {
  void* const first = FramePool::allocate(200);
  FramePool::release(first, 200);
  void* const second = FramePool::allocate(193);  // the same 64-byte class
  EXPECT_EQ(second, first);
  FramePool::release(second, 193);
  FramePool::trim();
}

TEST(FramePool, AFrameMayBeReleasedOnAnotherThread) {
  void* const frame = FramePool::allocate(300);
  std::thread other([frame] {
    FramePool::release(frame, 300);
    EXPECT_EQ(FramePool::allocate(300), frame);
    FramePool::release(frame, 300);
    FramePool::trim();
  });
  other.join();
}

TEST(FramePool, TrimLeavesFramesInUseAlone) {
  auto* const kept = static_cast<unsigned char*>(FramePool::allocate(100));
  std::memset(kept, 0x5a, 100);
  FramePool::release(FramePool::allocate(100), 100);
  FramePool::trim();
  EXPECT_EQ(kept[99], 0x5a);
  FramePool::release(kept, 100);
  FramePool::trim();
}

}  // namespace
}  // namespace platter
