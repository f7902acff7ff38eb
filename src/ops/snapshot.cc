#include "src/ops/snapshot.h"

#include <time.h>

#include <utility>

#include "formats/qcow2/qcow2_image.h"
#include "formats/qcow2/snapshots.h"

namespace platter {
namespace {

Result<qcow2::Qcow2Image*> with_snapshots(Image& image, std::string_view otherwise) {
  auto* const qcow2 = dynamic_cast<qcow2::Qcow2Image*>(&image);
  if (qcow2 == nullptr) return fail(ErrorKind::unsupported, std::string(otherwise));
  return qcow2;
}

constexpr std::string_view kNoSnapshots = "Block driver does not support snapshots";

}  // namespace

Task<void> create_snapshot(Image& image, std::string name, const CancelToken* cancel) {
  qcow2::Qcow2Image* const qcow2 = co_await with_snapshots(image, kNoSnapshots);
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  qcow2::NewSnapshot snapshot{.name = std::move(name)};
  snapshot.date_sec = static_cast<std::uint32_t>(now.tv_sec);
  snapshot.date_nsec = static_cast<std::uint32_t>(now.tv_nsec);
  co_await qcow2->create_snapshot(std::move(snapshot), cancel);
}

Task<void> delete_snapshot(Image& image, SnapshotKey key, const CancelToken* cancel) {
  qcow2::Qcow2Image* const qcow2 = co_await with_snapshots(image, kNoSnapshots);
  co_await qcow2->delete_snapshot(std::move(key), cancel);
}

Task<void> apply_snapshot(Image& image, SnapshotKey key, const CancelToken* cancel) {
  qcow2::Qcow2Image* const qcow2 = co_await with_snapshots(image, kNoSnapshots);
  co_await qcow2->apply_snapshot(std::move(key), cancel);
}

Task<void> show_snapshot(Image& image, SnapshotKey key) {
  const std::string otherwise = "Block format '" + std::string(image.format()) +
                                "' used by device '' does not support temporarily loading "
                                "internal snapshots";
  qcow2::Qcow2Image* const qcow2 = co_await with_snapshots(image, otherwise);
  co_await qcow2->show_snapshot(std::move(key));
}

}  // namespace platter
