#include "formats/qcow2/epochs.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "formats/qcow2/header_change.h"
#include "formats/qcow2/header_encode.h"
#include "formats/qcow2/header_sector.h"
#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"
#include "io/ring.h"
#include "io/task_group.h"

namespace platter::qcow2 {
namespace {

constexpr std::size_t kWritesInFlight = 32;
constexpr std::size_t kPieceMax = 1 * kMiB;

Task<void> write_piece(File& file, std::uint64_t offset, const std::vector<std::byte>& bytes) {
  const Buffer aligned = co_await Ring::current().buffers().acquire(bytes.size());
  std::memcpy(aligned.data(), bytes.data(), bytes.size());
  co_await file.write(offset, aligned.bytes());
}

}  // namespace

Epochs::Epochs(Header& header, File& file, File* data_file, MetadataCache& cache, EntryTable& l1,
               Refcounts& refcounts, ClusterAllocator& allocator)
    : header_(header),
      on_disk_(header),
      file_(file),
      data_file_(data_file),
      cache_(cache),
      l1_(l1),
      refcounts_(refcounts),
      allocator_(allocator) {}

bool Epochs::has_changes() const noexcept {
  return cache_.has_dirty() || l1_.dirty() || refcounts_.table().dirty() || header_changed_ ||
         allocator_.has_drops();
}

Task<void> Epochs::commit() {
  const std::uint64_t wanted = begun_ + 1;  // one that begins after this moment
  const auto guard = co_await mutex_.lock();
  if (done_ >= wanted) co_return;
  co_await check_usable();
  co_await commit_now();
}

Task<void> Epochs::commit_now() {
  const std::uint64_t number = ++begun_;
  Epoch epoch = freeze();
  Result<void> written = co_await write(epoch).result();
  if (!written) {
    put_back(epoch);
    co_await std::move(written);
  }
  cache_.thaw(epoch.slices, /*written=*/true);
  Result<void> dropped = co_await allocator_.apply(std::move(epoch.drops)).result();
  if (!dropped && dropped.error().kind() == ErrorKind::corrupt_image) {
    fail_for_good(dropped.error());
  }
  co_await std::move(dropped);
  done_ = number;
}

// Without an await: a moment in which every change is whole.
Epochs::Epoch Epochs::freeze() {
  Epoch epoch{.slices = cache_.freeze(),
              .l1 = l1_.freeze(),
              .refcount_table = refcounts_.table().freeze(),
              .drops = allocator_.take_drops(),
              .header = header_,
              .header_changed = std::exchange(header_changed_, false)};
  for (const FrozenSlice& frozen : epoch.slices) {
    const bool early = frozen.fresh || frozen.slice->kind() == TableKind::refcount_block;
    std::vector<Piece>& pieces = early ? epoch.early : epoch.late;
    const auto bytes = frozen.slice->bytes();
    // Sorted by offset: neighbours go together.
    if (!pieces.empty() && pieces.back().bytes.size() < kPieceMax &&
        pieces.back().offset + pieces.back().bytes.size() == frozen.slice->offset()) {
      pieces.back().bytes.insert(pieces.back().bytes.end(), bytes.begin(), bytes.end());
    } else {
      pieces.push_back({frozen.slice->offset(), {bytes.begin(), bytes.end()}});
    }
  }
  const auto take = [](EntryTable::Frozen& table, std::vector<Piece>& pieces) {
    for (auto& [offset, bytes] : table.pieces) pieces.push_back({offset, std::move(bytes)});
  };
  take(epoch.l1, epoch.l1.moved ? epoch.early : epoch.late);
  take(epoch.refcount_table, epoch.refcount_table.moved ? epoch.early : epoch.table);
  return epoch;
}

Task<void> Epochs::write(Epoch& epoch) {
  co_await write_pieces(epoch.early);
  co_await barrier();
  cache_.no_longer_fresh(epoch.slices);
  if (epoch.refcount_table.moved) {
    Header header = on_disk_;
    header.refcount_table_offset = epoch.header.refcount_table_offset;
    header.refcount_table_clusters = epoch.header.refcount_table_clusters;
    co_await write_header(header);
    epoch.refcount_table.moved = false;  // in use on disk: changed in order from now on
  } else if (!epoch.table.empty()) {
    co_await write_pieces(epoch.table);
    co_await barrier();
  }
  if (!epoch.late.empty()) {
    co_await write_pieces(epoch.late);
    co_await barrier();
  }
  if (epoch.header_changed || epoch.l1.moved) co_await write_header(epoch.header);
}

void Epochs::put_back(Epoch& epoch) {
  cache_.thaw(epoch.slices, /*written=*/false);
  l1_.thaw_unwritten(epoch.l1);
  refcounts_.table().thaw_unwritten(epoch.refcount_table);
  allocator_.put_back(epoch.drops);
  header_changed_ = header_changed_ || epoch.header_changed;
}

Task<void> Epochs::write_pieces(std::vector<Piece>& pieces) {
  auto write_all = [&](TaskGroup& group) -> Task<void> {
    for (const Piece& piece : pieces) {
      if (group.failed()) break;
      co_await group.spawn(write_piece(file_, piece.offset, piece.bytes));
    }
  };
  co_await with_group(kWritesInFlight, write_all);
}

// What it points to is durable before: every stage ends with a barrier.
Task<void> Epochs::write_header(const Header& header) {
  Result<void> written = co_await change_header(file_, [&header](DiskHeader& disk) {
                           update_header(header, disk);
                         }).result();
  // After a failure it may be there or not, and what it points to with it.
  if (!written) fail_for_good(written.error());
  co_await std::move(written);
  on_disk_ = header;
}

Task<void> Epochs::write_header_now() {
  const auto guard = co_await mutex_.lock();
  co_await check_usable();
  co_await write_header(header_);
}

// Nothing else of it: what the header names in memory may not be durable.
Task<void> Epochs::mark_corrupt() {
  const auto guard = co_await mutex_.lock();
  co_await check_usable();
  constexpr std::uint64_t kBit = std::uint64_t{1} << kCorruptBit;
  header_.incompatible_features |= kBit;
  Header header = on_disk_;
  header.incompatible_features |= kBit;
  co_await write_header(header);
}

Task<void> Epochs::publish_bitmaps(std::optional<BitmapsExtension> bitmaps) {
  const auto guard = co_await mutex_.lock();
  co_await check_usable();
  co_await change_header_cluster(
      [&](std::span<const std::byte> cluster) { return plan_bitmaps_extension(cluster, bitmaps); });
  constexpr std::uint64_t kBit = std::uint64_t{1} << kBitmapsBit;
  for (Header* const header : {&header_, &on_disk_}) {
    header->bitmaps = bitmaps;
    header->autoclear_features &= ~kBit;
    if (bitmaps) header->autoclear_features |= kBit;
  }
}

Task<void> Epochs::publish_header(Header wanted) {
  const auto guard = co_await mutex_.lock();
  co_await check_usable();
  co_await change_header_cluster(
      [&](std::span<const std::byte> cluster) { return plan_header_change(cluster, wanted); });
  header_ = wanted;
  on_disk_ = std::move(wanted);
}

Task<void> Epochs::change_header_cluster(HeaderPlanner planner) {
  std::vector<std::byte> cluster(header_.cluster_size());
  co_await read_zero_filled(file_, 0, cluster);
  const std::vector<HeaderStep> steps = co_await planner(cluster);
  for (const HeaderStep& step : steps) {
    Result<void> written = co_await write_piece(file_, step.offset, step.bytes).result();
    if (written) written = co_await barrier().result();
    if (!written) fail_for_good(written.error());  // as with every write of the header
    co_await std::move(written);
  }
}

Task<void> Epochs::write_in_place(std::uint64_t offset, std::vector<std::byte> bytes) {
  const auto guard = co_await mutex_.lock();
  co_await check_usable();
  co_await write_piece(file_, offset, bytes);
  co_await barrier();
}

// The kernel tells of a write that it lost once only: what is not on disk then is not known.
Task<void> Epochs::barrier() {
  Result<void> flushed;
  if (data_file_ != nullptr) flushed = co_await data_file_->flush().result();
  if (flushed) flushed = co_await file_.flush().result();
  if (flushed) co_return;
  fail_for_good(flushed.error());
  co_await std::move(flushed);
}

}  // namespace platter::qcow2
