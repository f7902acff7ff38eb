// What changes an image as a whole: snapshots, the options that it was made with, its backing file.
#include <utility>
#include <vector>

#include "formats/qcow2/amend.h"
#include "formats/qcow2/header_change.h"
#include "formats/qcow2/header_sector.h"
#include "formats/qcow2/qcow2_image.h"
#include "formats/qcow2/refcount_conversion.h"
#include "formats/qcow2/snapshots.h"
#include "formats/qcow2/table_batch.h"
#include "formats/qcow2/writing.h"
#include "formats/qcow2/zero_expansion.h"
#include "io/bytes.h"

namespace platter::qcow2 {

Task<void> Qcow2Image::create_snapshot(NewSnapshot snapshot, const CancelToken* cancel) {
  co_await check_writable();
  Snapshots snapshots(*writing_, counts_memory_max(), cancel);
  co_await snapshots.create(std::move(snapshot));
}

Task<void> Qcow2Image::delete_snapshot(SnapshotKey key, const CancelToken* cancel) {
  co_await check_writable();
  Snapshots snapshots(*writing_, counts_memory_max(), cancel);
  co_await snapshots.remove(std::move(key));
}

Task<void> Qcow2Image::apply_snapshot(SnapshotKey key, const CancelToken* cancel) {
  co_await check_writable();
  Snapshots snapshots(*writing_, counts_memory_max(), cancel);
  co_await snapshots.apply(std::move(key));
}

Task<void> Qcow2Image::amend(AmendOptions options) {
  co_await check_writable();
  co_await writing_->bitmaps.save();  // those that were removed are in nobody's way
  const AmendPlan plan = co_await plan_amend(options, *writing_, counts_memory_max());
  if (plan.complete_snapshots) {
    Snapshots snapshots(*writing_, counts_memory_max(), options.cancel);
    co_await snapshots.complete_table();
  }
  if (plan.header) {
    co_await writing_->epochs.publish_header(with_options(header_, *plan.header));
  }
  if (plan.refcount_order) co_await change_refcount_width(*plan.refcount_order, options);
  if (plan.size) co_await resize(*plan.size, {.cancel = options.cancel});
  if (plan.downgrade) co_await downgrade(options);
}

Task<void> Qcow2Image::change_refcount_width(unsigned order, const AmendOptions& options) {
  co_await writing_->finish();
  RefcountConversion conversion(*writing_, {.order = order,
                                            .memory_max = counts_memory_max(),
                                            .cancel = options.cancel,
                                            .on_done = options.on_done});
  const RefcountConversion::Place place = co_await conversion.build();
  std::vector<std::uint64_t> replaced = conversion.old_clusters();
  // All that has counted by the old ones goes. Until it is known what is on disk, nothing is
  // written any more.
  writing_.reset();
  co_await change_header(*file_, [&](DiskHeader& disk) {
    disk.refcount_order = order;
    disk.refcount_table_offset = place.table_offset;
    disk.refcount_table_clusters = place.table_clusters;
  });
  header_.refcount_order = order;
  header_.refcount_table_offset = place.table_offset;
  header_.refcount_table_clusters = place.table_clusters;
  cache_->forget_all();
  co_await start_writing();
  Result<void> dropped = co_await drop_clusters(std::move(replaced)).result();
  if (dropped) co_return;
  co_await fail(std::move(dropped.error())
                    .with_context("the reference counts have another width, but the space of the "
                                  "old ones was not given back"));
}

Task<void> Qcow2Image::drop_clusters(std::vector<std::uint64_t> offsets) {
  for (const std::uint64_t offset : offsets) {
    writing_->allocator.drop(offset, /*discard=*/true);
    if (writing_->epochs.over_limit()) co_await writing_->epochs.commit();
  }
  do {
    co_await writing_->epochs.commit();
  } while (writing_->epochs.has_changes());
}

Task<void> Qcow2Image::downgrade(const AmendOptions& options) {
  ZeroExpansion expansion(*writing_, {.backed = header_.backing_file.has_value(),
                                      .cancel = options.cancel,
                                      .on_done = options.on_done});
  co_await expansion.run();
  co_await writing_->epochs.publish_header(downgraded(header_));
}

Task<void> Qcow2Image::make_empty(const CancelToken* cancel) {
  co_await check_writable();
  if (data_file_) {
    co_await forget_data_file_clusters();
    co_return;
  }
  Snapshots snapshots(*writing_, counts_memory_max(), cancel);
  co_await snapshots.empty_active();
}

// They are not counted: the space is given back once nothing on disk refers to it.
Task<void> Qcow2Image::forget_data_file_clusters() {
  const std::uint64_t end = align_up(header_.size, header_.cluster_size());
  co_await writing_->writer.forget_clusters(0, end);
  co_await writing_->epochs.commit();
  const std::uint64_t size = co_await data_file_->size();
  if (!data_file_->traits().is_block_device && size > 0) {
    co_await data_file_->write_zeroes(0, size, ZeroMode::may_unmap);
  }
}

namespace {

Result<Header> with_backing(Header header, BackingReference reference) {
  const bool raw_data_file = header.has_data_file() && header.autoclear(kRawDataFileBit);
  const bool possible =
      !reference.name || (!raw_data_file && reference.name->size() <= kBackingNameMax);
  if (!possible) return fail(ErrorKind::invalid_argument, "Invalid argument");
  header.backing_file = std::move(reference.name);
  header.backing_format = std::move(reference.format);
  return header;
}

}  // namespace

Task<void> Qcow2Image::check_backing_file(BackingReference reference) {
  co_await check_writable();
  std::vector<std::byte> cluster(header_.cluster_size());
  co_await read_zero_filled(*file_, 0, cluster);
  (void)co_await plan_header_change(cluster, co_await with_backing(header_, std::move(reference)));
}

Task<void> Qcow2Image::set_backing_file(BackingReference reference) {
  co_await check_writable();
  co_await writing_->finish();  // bitmaps, too: their extension is a part of what is written
  co_await writing_->epochs.publish_header(co_await with_backing(header_, std::move(reference)));
}

}  // namespace platter::qcow2
