#include "io/buffer_pool.h"

#include <sanitizer/asan_interface.h>  // its macros do nothing without ASan
#include <sys/mman.h>
#include <sys/uio.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "io/bytes.h"
#include "io/check.h"
#include "io/ring.h"
#include "io/ring_engine.h"

namespace platter {
namespace {

constexpr std::size_t kRegisteredSlabs = BufferPool::kRegisteredSize / BufferPool::kSlabSize;

Result<std::byte*> map_memory(std::size_t size) {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return fail(ErrorKind::out_of_memory, "Could not allocate " + std::to_string(size) +
                                              " bytes of I/O buffers: " + errno_text(errno));
  }
  return static_cast<std::byte*>(memory);
}

// Maps `count` adjacent slabs, aligned so that each can be one huge page.
Result<std::byte*> map_slabs(std::size_t count) {
  const std::size_t size = count * BufferPool::kSlabSize;
  Result<std::byte*> mapped = map_memory(size + BufferPool::kSlabSize);
  if (!mapped) return mapped;
  const auto begin = reinterpret_cast<std::uintptr_t>(*mapped);
  const std::uintptr_t aligned = align_up(begin, BufferPool::kSlabSize);
  if (aligned > begin) ::munmap(*mapped, aligned - begin);
  std::byte* memory = *mapped + (aligned - begin);
  const std::size_t tail = BufferPool::kSlabSize - (aligned - begin);
  if (tail > 0) ::munmap(memory + size, tail);
  ::madvise(memory, size, MADV_HUGEPAGE);  // a wish: without huge pages all works the same
  ::madvise(memory, size, MADV_DONTFORK);  // a child's copy-on-write must not race with I/O
  return memory;
}

constexpr std::uint32_t run_mask(unsigned steps) { return steps == 32 ? ~0U : (1U << steps) - 1; }

}  // namespace

Buffer::~Buffer() {
  if (pool_ != nullptr) pool_->release(data_, size_);
}

BufferPool::~BufferPool() { PLATTER_CHECK(in_use_ == 0 && slabs_.empty()); }

Result<Buffer> BufferPool::acquire(std::size_t size) {
  PLATTER_CHECK(size > 0);
  if (size > kSlabSize) return acquire_large(size);
  const auto steps = static_cast<unsigned>((size + kStep - 1) / kStep);
  Result<std::byte*> data = acquire_steps(steps);
  if (!data) return fail(std::move(data.error()));
  ASAN_UNPOISON_MEMORY_REGION(*data, size);
  count(steps * kStep);
  return Buffer(*this, *data, size);
}

Result<std::byte*> BufferPool::acquire_steps(unsigned steps) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    for (Slab& slab : slabs_) {
      for (unsigned at = 0; at + steps <= kStepsPerSlab; ++at) {
        const std::uint32_t mask = run_mask(steps) << at;
        if ((slab.used & mask) != 0) continue;
        slab.used |= mask;
        return slab.memory + at * kStep;
      }
    }
    const bool first = slabs_.empty();
    if (Result<void> added = add_slabs(first ? kRegisteredSlabs : 1); !added) {
      return fail(std::move(added.error()));
    }
    if (first) register_first_slabs();
  }
  PLATTER_CHECK(false && "a fresh slab has room");
}

Result<void> BufferPool::add_slabs(std::size_t count) {
  Result<std::byte*> memory = map_slabs(count);
  if (!memory) return fail(std::move(memory.error()));
  ASAN_POISON_MEMORY_REGION(*memory, count * kSlabSize);
  for (std::size_t i = 0; i < count; ++i) slabs_.push_back({*memory + i * kSlabSize, 0});
  return {};
}

void BufferPool::register_first_slabs() noexcept {
  const iovec area{slabs_.front().memory, kRegisteredSize};
  if (!ring_.engine_->register_buffers({&area, 1})) return;
  fixed_begin_ = reinterpret_cast<std::uintptr_t>(area.iov_base);
  fixed_size_ = area.iov_len;
}

Result<Buffer> BufferPool::acquire_large(std::size_t size) {
  Result<std::byte*> memory = map_memory(align_up(size, kAlignment));
  if (!memory) return fail(std::move(memory.error()));
  count(align_up(size, kAlignment));
  return Buffer(*this, *memory, size);
}

void BufferPool::count(std::size_t taken) noexcept {
  in_use_ += taken;
  peak_ = std::max(peak_, in_use_);
}

void BufferPool::release(std::byte* data, std::size_t size) noexcept {
  if (size > kSlabSize) {
    in_use_ -= align_up(size, kAlignment);
    ::munmap(data, align_up(size, kAlignment));
    return;
  }
  for (Slab& slab : slabs_) {
    if (data < slab.memory || data >= slab.memory + kSlabSize) continue;
    const auto steps = static_cast<unsigned>((size + kStep - 1) / kStep);
    const auto at = static_cast<unsigned>(static_cast<std::size_t>(data - slab.memory) / kStep);
    slab.used &= ~(run_mask(steps) << at);
    in_use_ -= steps * kStep;
    ASAN_POISON_MEMORY_REGION(data, steps * kStep);
    return;
  }
  PLATTER_CHECK(false && "a buffer of another pool");
}

void BufferPool::trim() noexcept {
  auto unused = [this](const Slab& slab) {
    const bool fixed = fixed_index(slab.memory) >= 0;
    if (slab.used != 0 || fixed) return false;
    ASAN_UNPOISON_MEMORY_REGION(slab.memory, kSlabSize);
    ::munmap(slab.memory, kSlabSize);
    return true;
  };
  slabs_.erase(std::remove_if(slabs_.begin(), slabs_.end(), unused), slabs_.end());
}

void BufferPool::release_all() noexcept {
  if (registered()) ring_.engine_->unregister_buffers();
  fixed_size_ = 0;
  trim();
}

}  // namespace platter
