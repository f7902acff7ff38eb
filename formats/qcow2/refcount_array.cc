#include "formats/qcow2/refcount_array.h"

#include <sys/mman.h>

#include <cerrno>

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kBlockMax = std::uint64_t{1} << kClusterBitsMax;  // bytes

// Bytes to map: the counts, and the rest of the last refcount block.
Result<std::size_t> mapping_size(unsigned order, std::uint64_t clusters, std::uint64_t memory_max) {
  const auto bits = checked_mul(clusters, std::uint64_t{1} << order);
  const std::uint64_t bytes = bits ? *bits / 8 : memory_max;
  if (!bits || bytes > memory_max) {
    return fail(ErrorKind::too_large,
                fmt::format("the counts of {} clusters need more than {} bytes of memory", clusters,
                            memory_max));
  }
  return align_up(bytes + 1, kBlockMax) + kBlockMax;
}

}  // namespace

RefcountArray::~RefcountArray() {
  if (data_ != nullptr) ::munmap(data_, mapped_);
}

Result<RefcountArray> RefcountArray::create(unsigned order, std::uint64_t clusters,
                                            std::uint64_t memory_max) {
  const Result<std::size_t> size = mapping_size(order, clusters, memory_max);
  if (!size) return fail(size.error().clone());
  void* const data = ::mmap(nullptr, *size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return fail_errno(errno, "mmap");
  RefcountArray array;
  array.order_ = order;
  array.clusters_ = clusters;
  array.data_ = static_cast<std::byte*>(data);
  array.mapped_ = *size;
  array.memory_max_ = memory_max;
  return array;
}

Result<void> RefcountArray::grow(std::uint64_t clusters) {
  if (clusters <= clusters_) return {};
  const Result<std::size_t> size = mapping_size(order_, clusters, memory_max_);
  if (!size) return fail(size.error().clone());
  if (*size > mapped_) {
    void* const data = ::mremap(data_, mapped_, *size, MREMAP_MAYMOVE);
    if (data == MAP_FAILED) return fail_errno(errno, "mremap");
    data_ = static_cast<std::byte*>(data);
    mapped_ = *size;
  }
  clusters_ = clusters;
  return {};
}

void RefcountArray::clear() noexcept {
  // Private anonymous pages that are given back read as zeroes.
  if (data_ != nullptr) ::madvise(data_, mapped_, MADV_DONTNEED);
}

}  // namespace platter::qcow2
