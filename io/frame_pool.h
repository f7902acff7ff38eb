// Recycles coroutine frames: the only allocator on the data path.
#pragma once

#include <cstddef>

namespace platter {

/// Per thread, one free list for each 64-byte size class up to 4 KiB; larger frames go to the heap.
/// A frame may be released on another thread than the one that allocated it (a task that never
/// started, moved there); it then joins that thread's list.
/// Memory: as many frames as were alive at once on the thread, until trim().
/// A RunLoop trims when it ends.
class FramePool {
 public:
  static void* allocate(std::size_t size);
  static void release(void* frame, std::size_t size) noexcept;
  /// Gives this thread's free frames back to the heap.
  static void trim() noexcept;
};

}  // namespace platter
