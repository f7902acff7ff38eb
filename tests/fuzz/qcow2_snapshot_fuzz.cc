// Any bytes as a qcow2 image: its snapshots listed, shown, taken, applied and deleted.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "formats/qcow2/snapshots.h"
#include "formats/snapshot_key.h"
#include "tests/fuzz/qcow2_changes.h"

namespace platter::qcow2::fuzz {
namespace {

// One of those that are there; perhaps none.
Task<SnapshotKey> some_snapshot(Qcow2Image& image, unsigned number) {
  const ImageInfo info = co_await image.info();
  if (info.snapshots.empty()) co_return SnapshotKey::by_name("none");
  co_return SnapshotKey::id_or_name(info.snapshots[number % info.snapshots.size()].id);
}

struct Snapshotting {
  static Task<void> step(Qcow2Image& image, Step step) {
    switch (step.kind % 6) {
      case 0: co_await write_and_read(image, step); break;
      case 1: co_await image.create_snapshot({.name = "s" + std::to_string(step.number)}); break;
      case 2: co_await image.delete_snapshot(co_await some_snapshot(image, step.number)); break;
      case 3: co_await image.apply_snapshot(co_await some_snapshot(image, step.number)); break;
      case 4: {
        const std::uint64_t size = image.virtual_size();
        co_await image.discard(step.offset(size), step.length(size));
        break;
      }
      default: {
        std::vector<std::byte> bytes(step.length(image.virtual_size()));
        co_await image.read(step.offset(image.virtual_size()), bytes);
      }
    }
  }
};

Task<void> show(std::span<const std::byte> bytes) {
  Files files;
  co_await files.put(Input(bytes).image());
  auto image = co_await files.open(/*writable=*/false);
  const Result<ImageInfo> info = co_await image->info().result();
  (void)co_await image->close().result();
  const std::size_t count = info ? std::min<std::size_t>(info->snapshots.size(), 4) : 0;
  for (std::size_t i = 0; i < count; ++i) {
    image = co_await files.open(/*writable=*/false);
    if (co_await image->show_snapshot(SnapshotKey::id_or_name(info->snapshots[i].id)).result()) {
      std::vector<std::byte> seen(std::min<std::uint64_t>(64 * kKiB, image->virtual_size()));
      (void)co_await image->read(0, seen).result();
    }
    (void)co_await image->close().result();
  }
}

}  // namespace
}  // namespace platter::qcow2::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace platter::qcow2::fuzz;
  const auto bytes = std::as_bytes(std::span(data, size));
  run(show(bytes));
  run(change_image<Snapshotting>(bytes));
  return 0;
}
