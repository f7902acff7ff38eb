#include "io/frame_pool.h"

#include <sanitizer/asan_interface.h>  // its macros do nothing without ASan

#include <new>

namespace platter {
namespace {

struct Node {
  Node* next;
};
constexpr std::size_t kGranule = 64;
constexpr std::size_t kClasses = 64;

std::size_t class_of(std::size_t size) { return (size - 1) / kGranule; }
std::size_t bytes_of(std::size_t size_class) { return (size_class + 1) * kGranule; }

// Trivially destructible, so that an access costs no guard; RunLoop's destructor trims.
constinit thread_local Node* t_free[kClasses] = {};

}  // namespace

void* FramePool::allocate(std::size_t size) {
  const std::size_t size_class = class_of(size);
  if (size_class >= kClasses) return ::operator new(size);
  Node* node = t_free[size_class];
  if (node == nullptr) return ::operator new(bytes_of(size_class));
  ASAN_UNPOISON_MEMORY_REGION(node, bytes_of(size_class));
  t_free[size_class] = node->next;
  return node;
}

void FramePool::release(void* frame, std::size_t size) noexcept {
  const std::size_t size_class = class_of(size);
  if (size_class >= kClasses) return ::operator delete(frame);
  t_free[size_class] = ::new (frame) Node{t_free[size_class]};
  ASAN_POISON_MEMORY_REGION(frame, bytes_of(size_class));
}

void FramePool::trim() noexcept {
  for (std::size_t i = 0; i < kClasses; ++i) {
    while (Node* node = t_free[i]) {
      ASAN_UNPOISON_MEMORY_REGION(node, bytes_of(i));
      t_free[i] = node->next;
      ::operator delete(node);
    }
  }
}

}  // namespace platter
