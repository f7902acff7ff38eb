// Any bytes as a qcow2 image: its bitmaps listed, read, made, merged, cleared and removed, and
// written by guest requests.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "formats/qcow2/bitmaps.h"
#include "tests/fuzz/qcow2_changes.h"

namespace platter::qcow2::fuzz {
namespace {

std::string some_bitmap(Qcow2Image& image, std::size_t number) {
  const std::vector<BitmapEntry> bitmaps = image.bitmaps()->list();
  return bitmaps.empty() ? "none" : bitmaps[number % bitmaps.size()].name;
}

Task<void> merge(Qcow2Image& image, std::string name, std::string source) {
  const DirtyBits bits = co_await image.read_bitmap(source);
  co_await image.bitmaps()->merge(name, bits);
  if (name == source) co_return;
  const DirtyBits merged = co_await image.read_bitmap(std::move(name));
  const auto first = bits.next_dirty(0);
  PLATTER_CHECK(!first || merged.next_dirty(first->offset)->offset == first->offset);
}

// What is written becomes dirty in those that record.
Task<void> write(Qcow2Image& image, const Step& step) {
  co_await write_and_read(image, step);
  if (step.length(image.virtual_size()) == 0) co_return;
  const std::uint64_t offset = step.offset(image.virtual_size());
  for (const BitmapEntry& bitmap : image.bitmaps()->list()) {
    if (bitmap.in_use() || !bitmap.automatic()) continue;
    const DirtyBits bits = co_await image.read_bitmap(bitmap.name);
    const auto dirty = bits.next_dirty(offset);
    PLATTER_CHECK(dirty && dirty->offset == offset);
  }
}

struct BitmapChanges {
  static Task<void> step(Qcow2Image& image, Step step) {
    Bitmaps& bitmaps = *image.bitmaps();
    std::string name = some_bitmap(image, step.number);
    switch (step.kind % 10) {
      case 0:
      case 1: co_await write(image, step); break;
      case 2:
        co_await bitmaps.add({.name = "b" + std::to_string(step.number),
                              .granularity = std::uint64_t{512} << step.count % 23,
                              .enabled = step.count % 2 == 0});
        break;
      case 3: co_await bitmaps.remove(std::move(name)); break;
      case 4: co_await bitmaps.clear(std::move(name)); break;
      case 5: co_await bitmaps.set_enabled(std::move(name), step.count % 2 == 0); break;
      case 6: co_await merge(image, std::move(name), some_bitmap(image, step.count)); break;
      case 7: co_await bitmaps.save(); break;
      case 8: (void)co_await image.info(); break;
      default: co_await image.resize(512 + 512 * std::uint64_t{step.number % 1024}, {});
    }
  }
};

Task<void> list(std::span<const std::byte> bytes) {
  Files files;
  co_await files.put(Input(bytes).image());
  const auto image = co_await files.open(/*writable=*/false);
  const Result<ImageInfo> info = co_await image->info().result();
  const std::size_t count = info ? std::min<std::size_t>(info->qcow2->bitmaps.size(), 8) : 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto bits = co_await image->read_bitmap(info->qcow2->bitmaps[i].name).result();
    if (bits) PLATTER_CHECK(bits->dirty_bytes() <= image->virtual_size());
  }
  (void)co_await image->close().result();
}

}  // namespace
}  // namespace platter::qcow2::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace platter::qcow2::fuzz;
  const auto bytes = std::as_bytes(std::span(data, size));
  run(list(bytes));
  run(change_image<BitmapChanges>(bytes));
  return 0;
}
