// What is decided by an image's first bytes: probe_format(), and opening and mapping it as raw.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "formats/probe.h"
#include "formats/raw/raw_image.h"
#include "io/check.h"
#include "io/memory_file.h"
#include "io/run_loop.h"

namespace platter {
namespace {

Task<void> read_as_raw(std::span<const std::byte> bytes) {
  auto file = std::make_unique<MemoryFile>();
  co_await file->write(0, bytes);
  const std::unique_ptr<RawImage> image = co_await RawImage::open(std::move(file), "fuzz");
  std::vector<std::byte> found(image->virtual_size());
  co_await image->read(0, found);
  PLATTER_CHECK(std::equal(bytes.begin(), bytes.end(), found.begin()));
  std::uint64_t at = 0;
  while (at < image->virtual_size()) {
    const auto mappings = co_await image->map(at, image->virtual_size() - at, 2);
    for (const Mapping& mapping : mappings) at += mapping.length;
  }
  PLATTER_CHECK(at == image->virtual_size());
  co_await image->close();
}

}  // namespace
}  // namespace platter

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  PLATTER_CHECK(!platter::probe_format(bytes).empty());
  platter::RunLoop loop;
  PLATTER_CHECK(loop.run(platter::read_as_raw(bytes)));
  return 0;
}
