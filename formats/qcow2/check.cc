#include "formats/qcow2/check.h"

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "formats/qcow2/check_run.h"
#include "formats/qcow2/check_snapshots.h"
#include "formats/qcow2/copied_check.h"
#include "formats/qcow2/header_sector.h"
#include "formats/qcow2/refcount_compare.h"
#include "formats/qcow2/refcount_rebuild.h"
#include "formats/qcow2/reference_walk.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kBrokenBits = (1U << kDirtyBit) | (1U << kCorruptBit);
constexpr std::uint64_t kKnownAutoclear = (1U << kBitmapsBit) | (1U << kRawDataFileBit);
constexpr std::uint64_t kClustersMax = std::numeric_limits<std::int32_t>::max();  // QEMU's

class Checker {
 public:
  Checker(Header& header, File& file, const CheckOptions& options)
      : repair_(options.repair),
        messages_(options.on_message, options.messages_max),
        run_{.header = header,
             .file = file,
             .messages = messages_,
             .report = report_,
             .cancel = options.cancel,
             .memory_max = options.memory_max} {}

  Task<CheckReport> check();

 private:
  bool fix_errors() const noexcept { return repair_ == Repair::all; }

  Task<void> measure();
  Task<void> read_tables();
  Task<void> prepare_outside();
  Task<void> check_counts();
  Task<void> rebuild();
  Task<void> mend_in_place(const CheckReport& before);
  Task<void> recount();
  Task<void> replace_structures(std::span<const std::byte> snapshot_table);
  Task<void> check_flags();
  Task<void> rewrite_snapshot_table();

  Repair repair_;
  CheckMessages messages_;
  CheckReport report_;
  CheckRun run_;
  std::uint64_t end_ = 0;  // of the image, in clusters
};

Task<void> Checker::measure() {
  run_.file_size = align_up(co_await run_.file.size(), kSectorSize);
  run_.clusters = (run_.file_size + run_.cluster_size() - 1) >> run_.header.cluster_bits;
  if (run_.clusters > kClustersMax) {
    co_await fail(ErrorKind::too_large, "File too large");
  }
  report_.total_clusters = (run_.header.size + run_.cluster_size() - 1) >> run_.header.cluster_bits;
}

Task<void> Checker::read_tables() {
  run_.snapshots = co_await read_snapshot_entries(run_.header, run_.file, fix_errors(), messages_);
  if (run_.snapshots.overhanging > 0) {
    // Now, because the counts are to be those of an image without them.
    const auto count = static_cast<std::uint32_t>(run_.snapshots.entries.size());
    co_await change_header(run_.file, [count](DiskHeader& disk) { disk.nb_snapshots = count; });
    run_.header.snapshot_count = count;
  }
  run_.l1 = co_await read_words(run_, run_.header.l1_table_offset, run_.header.l1_size);
  run_.refcount_table = co_await read_words(
      run_, run_.header.refcount_table_offset,
      (std::uint64_t{run_.header.refcount_table_clusters} << run_.header.cluster_bits) /
          sizeof(std::uint64_t));
  // One more: the last cluster that is referred to may not be there at all.
  run_.counts = co_await RefcountArray::create(run_.header.refcount_order, run_.clusters + 1,
                                               run_.memory_max);
  if (repair_ != Repair::none) co_await prepare_outside();
}

Task<void> Checker::prepare_outside() {
  // Much more than new structures take.
  const std::uint64_t size = run_.clusters + (std::uint64_t{1} << 24);
  run_.outside_begin = run_.clusters;
  run_.outside = co_await RefcountArray::create(0, size, std::numeric_limits<std::uint64_t>::max());
}

Task<void> Checker::check_counts() {
  co_await count_references(run_, fix_errors());
  const CheckReport before = report_;
  end_ = co_await compare_refcounts(run_, {}, /*keep_disk_counts=*/repair_ == Repair::none);
  if (repair_ == Repair::none) co_return;
  if (run_.rebuild && fix_errors()) {
    messages_.add("Rebuilding refcount structure");
    co_await rebuild();
  } else if (run_.rebuild) {
    messages_.add("ERROR need to rebuild refcount structures");
    co_await fail(ErrorKind::io, "Input/output error");
  } else if (report_.leaks > 0 || report_.corruptions > 0) {
    co_await mend_in_place(before);
  }
}

Task<void> Checker::mend_in_place(const CheckReport& before) {
  report_ = before;
  end_ = co_await compare_refcounts(run_, {.leaks = true, .corruptions = fix_errors()},
                                    /*keep_disk_counts=*/true);
  co_await run_.file.flush();
}

// What the image refers to now that it has changed.
Task<void> Checker::recount() {
  run_.counts.clear();
  run_.clusters = (run_.file_size + run_.cluster_size() - 1) >> run_.header.cluster_bits;
  co_await run_.counts.grow(run_.clusters + 1);
  co_await prepare_outside();
  run_.rebuild = false;
  run_.all_copied = true;
  run_.shared = false;
  co_await count_references(run_, /*fix=*/false);
  // All differences are mended, or new structures follow, which are made of what was counted.
  end_ = co_await compare_refcounts(run_, {.leaks = true, .corruptions = true},
                                    /*keep_disk_counts=*/false);
  co_await run_.file.flush();
}

// Leaves a report of what is found afterwards alone.
Task<void> Checker::replace_structures(std::span<const std::byte> snapshot_table) {
  // Where the file grew over places that were referred to past its end, these count now: once
  // more. The file does not grow over others then.
  constexpr int kTriesMax = 3;
  for (int i = 0; i == 0 || (run_.rebuild && i < kTriesMax); ++i) {
    co_await rebuild_refcounts(run_, i == 0 ? snapshot_table : std::span<const std::byte>());
    if (i == 0 && !snapshot_table.empty()) run_.snapshots.table_size = snapshot_table.size();
    report_ = CheckReport{};
    co_await recount();
  }
}

Task<void> Checker::rebuild() {
  // The old structures are leaks afterwards, and so is what leaked before: all of it is given up.
  // What the first count found and the second does not has been mended.
  const CheckReport before = report_;
  co_await replace_structures({});
  const CheckReport after = std::exchange(report_, before);
  report_.corruptions = after.corruptions;
  report_.leaks = after.leaks;
  report_.corruptions_fixed += before.corruptions - std::min(before.corruptions, after.corruptions);
  report_.leaks_fixed += before.leaks - std::min(before.leaks, after.leaks);
  if (run_.rebuild) messages_.add("ERROR rebuilt refcount structure is still broken");
}

Task<void> Checker::check_flags() {
  const bool counts_agree =
      report_.check_errors == 0 && report_.corruptions == 0 && report_.leaks == 0;
  if (counts_agree && run_.all_copied && !run_.shared) co_return;
  bool fix = fix_errors();
  // Flags follow from counts: they are mended once the counts are right.
  if (repair_ == Repair::leaks) fix = counts_agree;
  co_await check_copied_flags(run_, fix);
  if (fix) co_await run_.file.flush();
}

// The new table comes with new refcount structures, so that one write switches to both.
Task<void> Checker::rewrite_snapshot_table() {
  const std::vector<std::byte> table =
      co_await make_snapshot_table(run_.header, run_.file, run_.snapshots.entries);
  // Nothing new is found: what is given up was told of as a fault of the table.
  const CheckReport before = report_;
  messages_.mute(true);
  co_await replace_structures(table);
  messages_.mute(false);
  report_ = before;
}

Task<CheckReport> Checker::check() {
  if (repair_ != Repair::none && (run_.header.autoclear_features & ~kKnownAutoclear) != 0) {
    run_.header.autoclear_features &= kKnownAutoclear;
    const std::uint64_t bits = run_.header.autoclear_features;
    co_await change_header(run_.file, [bits](DiskHeader& disk) { disk.autoclear_features = bits; });
  }
  co_await measure();
  co_await read_tables();
  co_await check_counts();
  const std::uint64_t faults = run_.snapshots.faults;
  const bool rewrites = faults > 0 && fix_errors();
  // Before the flags: what it gives up may have been shared.
  if (rewrites) co_await rewrite_snapshot_table();
  co_await check_flags();
  report_.image_end_offset = end_ << run_.header.cluster_bits;
  report_.corruptions_fixed += run_.snapshots.overhanging + (rewrites ? faults : 0);
  report_.corruptions += rewrites ? 0 : faults;
  if (repair_ != Repair::none && report_.check_errors == 0 && report_.corruptions == 0) {
    co_await mark_consistent(run_.header, run_.file);
  }
  report_.messages_left_out = messages_.left_out();
  co_return report_;
}

}  // namespace

Task<CheckReport> check_refcounts(Header& header, File& file, CheckOptions options) {
  Checker checker(header, file, options);
  co_return co_await checker.check();
}

Task<Header> read_header_for_check(File& file) { return read_header(file, HeaderUse::check); }

Task<void> mark_consistent(Header& header, File& file) {
  if ((header.incompatible_features & kBrokenBits) == 0) co_return;
  const std::uint64_t bits = header.incompatible_features & ~kBrokenBits;
  co_await change_header(file, [bits](DiskHeader& disk) { disk.incompatible_features = bits; });
  header.incompatible_features = bits;
}

}  // namespace platter::qcow2
