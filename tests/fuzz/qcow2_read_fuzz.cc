// Any bytes as a qcow2 image: opened, described, mapped and read.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "formats/qcow2/qcow2_image.h"
#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"

namespace {

using platter::Task;

Task<void> use_image(std::span<const std::byte> bytes) {
  auto file = std::make_unique<platter::MemoryFile>("fuzzed");
  co_await file->write(0, bytes);
  auto image =
      co_await platter::qcow2::Qcow2Image::open(std::move(file), "fuzzed", 16 * platter::kMiB);
  (void)co_await image->info().result();
  co_await image->connect(nullptr, nullptr);
  std::vector<std::byte> buffer(256 * platter::kKiB);
  const std::size_t length = std::min<std::uint64_t>(buffer.size(), image->virtual_size());
  (void)co_await image->read(0, std::span(buffer).first(length)).result();
  (void)co_await image->map(0, image->virtual_size(), 1000).result();
  co_await image->close();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto ring = *platter::Ring::create();
  (void)ring->run(use_image({reinterpret_cast<const std::byte*>(data), size})).has_value();
  return 0;
}
