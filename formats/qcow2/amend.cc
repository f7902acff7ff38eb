#include "formats/qcow2/amend.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "formats/qcow2/header_change.h"
#include "formats/qcow2/refcount_conversion.h"
#include "formats/qcow2/snapshot_table.h"
#include "formats/qcow2/table_batch.h"
#include "formats/qcow2/zero_expansion.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}
std::unexpected<Error> unsupported(std::string message) {
  return fail(ErrorKind::unsupported, std::move(message));
}
std::unexpected<Error> needs_version_3(std::string_view what) {
  return wrong(fmt::format("{} compatibility level 1.1 {} above (use compat=1.1 or greater)", what,
                           what.ends_with("require") ? "or" : "and"));
}

std::uint64_t with_bit(std::uint64_t bits, unsigned bit, bool set) {
  const std::uint64_t mask = std::uint64_t{1} << bit;
  return set ? bits | mask : bits & ~mask;
}

class Planner {
 public:
  Planner(AmendOptions options, Writing& writing, std::size_t memory_max)
      : options_(std::move(options)),
        w_(writing),
        memory_max_(memory_max),
        header_(writing.header),
        version_(options_.version.value_or(header_.version)) {}

  Task<AmendPlan> plan();

 private:
  Result<void> check_values() const;
  Task<void> plan_refcounts();
  Result<void> check_backing() const;
  Result<void> plan_header();
  Result<void> plan_size();
  Task<void> plan_downgrade();
  Result<void> check_downgrade(const SnapshotTable& snapshots) const;
  Result<void> check_only_known() const;
  Task<void> check_header_steps() const;

  AmendOptions options_;
  Writing& w_;
  std::size_t memory_max_;
  const Header& header_;
  unsigned version_;  // in the end
  AmendPlan plan_;
  std::uint64_t work_ = 0;  // bytes
};

Task<AmendPlan> Planner::plan() {
  co_await check_values();
  const SnapshotTable snapshots = co_await read_snapshots(header_, w_.file);
  if (version_ > header_.version) {
    plan_.complete_snapshots = header_.snapshot_count > 0;
    co_await encode_snapshots(snapshots.snapshots);
  }
  co_await plan_refcounts();
  co_await check_backing();
  co_await plan_header();
  co_await plan_size();
  if (version_ < header_.version) {
    co_await check_downgrade(snapshots);
    co_await plan_downgrade();
  }
  co_await check_header_steps();
  if (options_.on_total) options_.on_total(work_);
  co_return std::move(plan_);
}

Result<void> Planner::check_values() const {
  if (version_ != 2 && version_ != 3) {
    return wrong(fmt::format("Unknown compatibility level {}", version_));
  }
  if (options_.data_file && !header_.has_data_file()) {
    return wrong("data-file can only be set for images that use an external data file");
  }
  if (options_.data_file_raw.value_or(false) && !header_.autoclear(kRawDataFileBit)) {
    return wrong("data-file-raw cannot be set on existing images");
  }
  if (!options_.refcount_bits) return {};
  constexpr std::uint64_t kBitsMax = std::uint64_t{1} << kRefcountOrderMax;
  if (std::has_single_bit(*options_.refcount_bits) && *options_.refcount_bits <= kBitsMax) {
    return {};
  }
  return wrong(
      fmt::format("Refcount width must be a power of two and may not exceed {} bits", kBitsMax));
}

Task<void> Planner::plan_refcounts() {
  if (!options_.refcount_bits) co_return;
  const auto order = static_cast<unsigned>(std::countr_zero(*options_.refcount_bits));
  if (order == header_.refcount_order) co_return;
  if (version_ < 3 && order != 4) {
    co_await needs_version_3("Refcount widths other than 16 bits require");
  }
  RefcountConversion conversion(
      w_, {.order = order, .memory_max = memory_max_, .cancel = options_.cancel});
  co_await conversion.verify();
  plan_.refcount_order = order;
  const auto entries = w_.refcounts.table().entries();
  const auto blocks =
      std::ranges::count_if(entries, [](std::uint64_t entry) { return entry != 0; });
  work_ += static_cast<std::uint64_t>(blocks) << header_.cluster_bits;
}

Result<void> Planner::check_backing() const {
  if (!options_.backing_file && !options_.backing_format) return {};
  const bool same = options_.backing_file == header_.backing_file &&
                    options_.backing_format == header_.backing_format;
  if (same) return {};
  return wrong("Cannot amend the backing file\nYou can use 'qemu-img rebase' instead.");
}

// All that one header says at once. What version 2 can't say goes with the downgrade.
Result<void> Planner::plan_header() {
  const bool lazy = options_.lazy_refcounts.value_or(header_.lazy_refcounts());
  if (lazy && !header_.lazy_refcounts() && version_ < 3) {
    return needs_version_3("Lazy refcounts only supported with");
  }
  if (version_ < 3) return {};
  Header changed = header_;
  changed.version = version_;
  changed.compatible_features = with_bit(changed.compatible_features, kLazyRefcountsBit, lazy);
  if (options_.data_file_raw) {
    changed.autoclear_features =
        with_bit(changed.autoclear_features, kRawDataFileBit, *options_.data_file_raw);
  }
  if (options_.data_file) {
    changed.data_file = options_.data_file->empty() ? std::nullopt : options_.data_file;
  }
  if (changed != header_) plan_.header = std::move(changed);
  return {};
}

Result<void> Planner::plan_size() {
  const std::uint64_t size = options_.size.value_or(0);
  if (size == 0) return {};
  const Header& then = plan_.header ? *plan_.header : header_;
  if (Result<void> possible = check_resize(then, size); !possible) return possible;
  if (size == header_.size) return {};
  plan_.size = size;
  return w_.bitmaps.check_resize(size);
}

Result<void> Planner::check_downgrade(const SnapshotTable& snapshots) const {
  const unsigned order = plan_.refcount_order.value_or(header_.refcount_order);
  if (order != 4) return unsupported("compat=0.10 requires refcount_bits=16");
  if (header_.has_data_file()) {
    return unsupported("Cannot downgrade an image with a data file");
  }
  // Other readers of version 2 know neither another size nor a longer state.
  const std::uint64_t size = plan_.size.value_or(header_.size);
  for (const Snapshot& snapshot : snapshots.snapshots) {
    if (snapshot.disk_size == size &&
        snapshot.vm_state_size <= std::numeric_limits<std::uint32_t>::max()) {
      continue;
    }
    return unsupported("Internal snapshots prevent downgrade of image");
  }
  const std::uint64_t features =
      header_.incompatible_features & ~(std::uint64_t{1} << kCompressionTypeBit);
  if (features != 0) {
    return unsupported(
        fmt::format("Cannot downgrade an image with incompatible features {:#x} set", features));
  }
  return check_only_known();
}

// What there is no place for in version 2 is not thrown away.
Result<void> Planner::check_only_known() const {
  const std::uint64_t features = with_bit(header_.compatible_features, kLazyRefcountsBit, false);
  if (features != 0) {
    return unsupported(
        fmt::format("Cannot downgrade an image with compatible features {:#x} set", features));
  }
  const bool plain =
      std::ranges::all_of(header_.unknown_fields, [](std::byte b) { return b == std::byte{0}; });
  if (!plain) return unsupported("Cannot downgrade an image with unknown fields in its header");
  if (!w_.bitmaps.empty()) {
    return unsupported("Cannot downgrade an image with persistent bitmaps");
  }
  return {};
}

Task<void> Planner::plan_downgrade() {
  ZeroExpansion expansion(w_, {.cancel = options_.cancel});
  const ZeroExpansion::Found found = co_await expansion.look();
  if (found.compressed && header_.compression_type != CompressionType::zlib) {
    co_await unsupported(
        "Cannot downgrade an image with zstd compression type and existing compressed clusters");
  }
  plan_.downgrade = true;
  work_ += found.table_bytes;
}

// There must be room for the headers, and for the ways to them.
Task<void> Planner::check_header_steps() const {
  std::vector<std::byte> cluster(header_.cluster_size());
  co_await read_zero_filled(w_.file, 0, cluster);
  Header last = header_;
  if (plan_.header) {
    apply_steps(co_await plan_header_change(cluster, *plan_.header), cluster);
    last = *plan_.header;
  }
  if (!plan_.downgrade) co_return;
  if (plan_.refcount_order) last.refcount_order = *plan_.refcount_order;
  (void)co_await plan_header_change(cluster, downgraded(std::move(last)));
}

}  // namespace

Task<AmendPlan> plan_amend(AmendOptions options, Writing& writing, std::size_t memory_max) {
  Planner planner(std::move(options), writing, memory_max);
  co_return co_await planner.plan();
}

Header with_options(Header header, const Header& planned) {
  header.version = planned.version;
  header.compatible_features = planned.compatible_features;
  header.autoclear_features = planned.autoclear_features;
  header.data_file = planned.data_file;
  return header;
}

Header downgraded(Header header) {
  header.version = 2;
  header.incompatible_features = 0;
  header.compatible_features = 0;
  header.autoclear_features = 0;
  header.compression_type = CompressionType::zlib;
  header.unknown_fields.clear();
  header.bitmaps.reset();  // none that are to be trusted
  return header;
}

}  // namespace platter::qcow2
