// Any bytes as a qcow2 image: written, zeroed, discarded, resized.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/fuzz/qcow2_changes.h"

namespace platter::qcow2::fuzz {
namespace {

Task<void> compress(Image& image, const Step& step, std::uint64_t cluster_size) {
  const std::uint64_t size = image.virtual_size();
  const std::uint64_t offset = align_down(step.offset(size), cluster_size);
  const std::vector<std::byte> data(std::min(cluster_size, size - offset),
                                    static_cast<std::byte>(step.count));
  co_await image.write_compressed(offset, data);
  std::vector<std::byte> seen(data.size());
  co_await image.read(offset, seen);
  PLATTER_CHECK(seen == data);
}

Task<void> zero(Image& image, const Step& step, ZeroMode mode) {
  const std::uint64_t offset = step.offset(image.virtual_size());
  std::vector<std::byte> seen(step.length(image.virtual_size()));
  co_await image.write_zeroes(offset, seen.size(), mode);
  co_await image.read(offset, seen);
  PLATTER_CHECK(seen == std::vector<std::byte>(seen.size()));
}

struct Writes {
  static Task<void> step(Qcow2Image& image, Step step) {
    const std::uint64_t size = image.virtual_size();
    switch (step.kind % 8) {
      case 0:
      case 1: co_await write_and_read(image, step); break;
      case 2: co_await zero(image, step, ZeroMode::may_unmap); break;
      case 3: co_await zero(image, step, ZeroMode::keep_allocated); break;
      case 4: co_await image.discard(step.offset(size), step.length(size)); break;
      case 5: co_await compress(image, step, image.header().cluster_size()); break;
      case 6: co_await image.flush(); break;
      default: {
        const auto mode = static_cast<Preallocation>(step.count % 4);
        co_await image.resize(512 + 512 * std::uint64_t{step.number % 1024},
                              {.preallocation = mode});
      }
    }
  }
};

}  // namespace
}  // namespace platter::qcow2::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace platter::qcow2::fuzz;
  const auto bytes = std::as_bytes(std::span(data, size));
  run(change_image<Writes>(bytes));
  return 0;
}
