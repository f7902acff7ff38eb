#include "src/cli/dump_qcow2.h"

#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "crypto/digest.h"
#include "formats/qcow2/bitmap_table.h"
#include "formats/qcow2/dump_directories.h"
#include "formats/qcow2/dump_header.h"
#include "formats/qcow2/owners.h"

namespace platter::cli {
namespace {

using namespace qcow2;

constexpr std::uint64_t kWord = sizeof(std::uint64_t);
constexpr std::size_t kHexMax = 256;  // bytes of unknown data that are shown

DumpValue optional_hex(const std::optional<std::uint64_t>& value) {
  if (value) return Hex{*value};
  return Nothing{};
}
DumpValue optional_text(const std::optional<std::string>& text) {
  if (text) return *text;
  return Nothing{};
}

std::string_view type_name(ClusterType type) {
  switch (type) {
    case ClusterType::unallocated: return "unallocated";
    case ClusterType::zero_plain: return "zero";
    case ClusterType::zero_allocated: return "zero-allocated";
    case ClusterType::normal: return "data";
    case ClusterType::compressed: return "compressed";
  }
  return "unallocated";
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What an extension says, in a few words.
DumpValue extension_value(const RawExtension& extension) {
  const std::span<const std::byte> data = extension.data;
  switch (extension.type) {
    case kExtensionBackingFormat:
    case kExtensionDataFile: return text_of(data);
    case kExtensionFeatureNames: {
      std::vector<std::string> names;
      for (std::size_t at = 0; at + sizeof(DiskFeatureName) <= data.size();
           at += sizeof(DiskFeatureName)) {
        DiskFeatureName entry{};
        std::memcpy(&entry, data.data() + at, sizeof entry);
        names.push_back(
            fmt::format("{}:{} {}", entry.type, entry.bit,
                        std::string(entry.name, ::strnlen(entry.name, sizeof entry.name))));
      }
      return names;
    }
    case kExtensionBitmaps: {
      DiskBitmapsExtension bitmaps{};
      if (data.size() != sizeof bitmaps) break;
      std::memcpy(&bitmaps, data.data(), sizeof bitmaps);
      return fmt::format("{} bitmaps, directory of {} bytes at {:#x}",
                         std::uint32_t{bitmaps.nb_bitmaps},
                         std::uint64_t{bitmaps.bitmap_directory_size},
                         std::uint64_t{bitmaps.bitmap_directory_offset});
    }
    case kExtensionCryptHeader: {
      DiskCryptHeader crypt{};
      if (data.size() != sizeof crypt) break;
      std::memcpy(&crypt, data.data(), sizeof crypt);
      return fmt::format("{} bytes at {:#x}", std::uint64_t{crypt.length},
                         std::uint64_t{crypt.offset});
    }
    default: break;
  }
  return hex_text(data.first(std::min(data.size(), kHexMax)));
}

// Hands rows on until there are too many.
class RowLimit {
 public:
  RowLimit(DumpOutput& output, std::uint64_t most) : output_(output), last_(output.rows() + most) {}
  /// False once no more are taken.
  bool takes() noexcept {
    if (output_.rows() < last_) return true;
    cut_ = true;
    return false;
  }
  bool cut() const noexcept { return cut_; }

 private:
  DumpOutput& output_;
  std::uint64_t last_;
  bool cut_ = false;
};

class Qcow2Dump {
 public:
  Qcow2Dump(File& file, const DumpRequest& request, DumpOutput& output, const CancelToken* cancel)
      : file_(file), request_(request), output_(output), cancel_(cancel) {}

  Task<void> run();

 private:
  DumpSource source() const {
    return {
        .header = *raw_.geometry, .file = file_, .file_size = raw_.file_size, .cancel = cancel_};
  }
  void write_header();
  void write_features();
  void write_extensions();
  Task<void> write_l1();
  Task<void> write_l2();
  Task<void> write_refcounts();
  Task<void> write_snapshots();
  Task<void> write_bitmaps();
  Task<void> write_bitmap_tables(const std::vector<BitmapRow>& bitmaps);
  Task<void> write_owners();

  File& file_;
  const DumpRequest& request_;
  DumpOutput& output_;
  const CancelToken* cancel_;
  RawHeader raw_;
};

void Qcow2Dump::write_features() {
  const DiskHeader& disk = raw_.disk;
  struct Set {
    std::string_view name;
    FeatureKind kind;
    std::uint64_t bits;
  };
  for (const Set& set :
       {Set{"incompatible_features", FeatureKind::incompatible, disk.incompatible_features},
        Set{"compatible_features", FeatureKind::compatible, disk.compatible_features},
        Set{"autoclear_features", FeatureKind::autoclear, disk.autoclear_features}}) {
    output_.field(set.name, Hex{set.bits});
    output_.field(std::string(set.name) + "_names", feature_names(set.kind, set.bits));
  }
}

void Qcow2Dump::write_extensions() {
  output_.begin_rows("extensions");
  for (const RawExtension& extension : raw_.extensions) {
    output_.row({{"offset", Hex{extension.offset}},
                 {"type", Hex{extension.type}},
                 {"name", std::string(extension_name(extension.type))},
                 {"length", std::uint64_t{extension.length}},
                 {"value", extension_value(extension)},
                 {"problem", optional_text(extension.problem)}});
  }
  output_.end_rows();
}

// The names are the specification's.
void Qcow2Dump::write_header() {
  const DiskHeader& disk = raw_.disk;
  const auto number = [](std::uint32_t value) { return DumpValue(std::uint64_t{value}); };
  output_.begin_section("header");
  output_.field("version", number(disk.version));
  output_.field("backing_file_offset", Hex{disk.backing_file_offset});
  output_.field("backing_file_size", number(disk.backing_file_size));
  output_.field("backing_file", optional_text(raw_.backing_file));
  output_.field("cluster_bits", number(disk.cluster_bits));
  output_.field("size", std::uint64_t{disk.size});
  output_.field("crypt_method", number(disk.crypt_method));
  output_.field("l1_size", number(disk.l1_size));
  output_.field("l1_table_offset", Hex{disk.l1_table_offset});
  output_.field("refcount_table_offset", Hex{disk.refcount_table_offset});
  output_.field("refcount_table_clusters", number(disk.refcount_table_clusters));
  output_.field("nb_snapshots", number(disk.nb_snapshots));
  output_.field("snapshots_offset", Hex{disk.snapshots_offset});
  if (disk.version >= 3) {
    write_features();
    output_.field("refcount_order", number(disk.refcount_order));
    output_.field("header_length", number(disk.header_length));
    output_.field("compression_type", std::uint64_t{disk.compression_type});
    const std::span<const std::byte> unknown = raw_.unknown_fields;
    output_.field("unknown_fields", hex_text(unknown.first(std::min(unknown.size(), kHexMax))));
  }
  write_extensions();
  output_.field("problems", raw_.problems);
  output_.end_section();
}

Task<void> Qcow2Dump::write_l1() {
  RowLimit limit(output_, request_.rows_max);
  output_.begin_section("l1");
  output_.begin_rows("entries");
  auto write = [&](const L1Row& row) {
    if (!limit.takes()) return false;
    output_.row({{"index", row.index},
                 {"guest-offset", Hex{row.guest_offset}},
                 {"raw", Hex{row.entry.raw()}},
                 {"offset", Hex{row.entry.offset()}},
                 {"copied", row.entry.copied()},
                 {"problems", row.problems}});
    return true;
  };
  co_await dump_l1(source(), request_.guest, write);
  output_.end_rows();
  output_.field("complete", !limit.cut());
  output_.end_section();
}

Task<void> Qcow2Dump::write_l2() {
  RowLimit limit(output_, request_.rows_max);
  const bool extended = raw_.geometry->extended_l2();
  output_.begin_section("l2");
  output_.begin_rows("entries");
  auto write = [&](const L2Row& row) {
    if (!limit.takes()) return false;
    const bool there = row.entry.raw() != 0 || row.entry.bitmap() != 0;
    const auto only = [there](DumpValue value) { return there ? std::move(value) : Nothing{}; };
    output_.row(
        {{"guest-offset", Hex{row.guest_offset}},
         {"length", Hex{row.length}},
         {"type", std::string(type_name(row.type))},
         {"table", row.table != 0 ? DumpValue(Hex{row.table}) : Nothing{}},
         {"index", row.table != 0 ? DumpValue(row.index) : Nothing{}},
         {"raw", only(Hex{row.entry.raw()})},
         {"host-offset", optional_hex(row.host_offset)},
         {"host-length", row.host_offset ? DumpValue(Hex{row.host_length}) : Nothing{}},
         {"copied", only(row.entry.copied())},
         {"allocated-subclusters", extended ? only(Hex{row.entry.allocated_bits()}) : Nothing{}},
         {"zero-subclusters", extended ? only(Hex{row.entry.zero_bits()}) : Nothing{}},
         {"problems", row.problems}});
    return true;
  };
  co_await dump_l2(source(), request_.guest, write);
  output_.end_rows();
  output_.field("complete", !limit.cut());
  output_.end_section();
}

Task<void> Qcow2Dump::write_refcounts() {
  RowLimit limit(output_, request_.rows_max);
  output_.begin_section("refcounts");
  output_.begin_rows("table");
  auto write_entry = [&](const RefcountTableRow& row) {
    if (!limit.takes()) return false;
    output_.row({{"index", row.index},
                 {"host-offset", Hex{row.host_offset}},
                 {"raw", Hex{row.raw}},
                 {"problems", row.problems}});
    return true;
  };
  co_await dump_refcount_table(source(), request_.host, write_entry);
  output_.end_rows();
  RowLimit counts(output_, request_.rows_max);
  output_.begin_rows("counts");
  auto write_counts = [&](const RefcountRow& row) {
    if (!counts.takes()) return false;
    output_.row(
        {{"host-offset", Hex{row.host_offset}},
         {"clusters", row.clusters},
         {"refcount", row.refcount ? DumpValue(*row.refcount) : Nothing{}},
         {"problems", row.refcount ? std::vector<std::string>{}
                                   : std::vector<std::string>{"the refcount block lies past the "
                                                              "end of the file"}}});
    return true;
  };
  co_await dump_refcounts(source(), request_.host, write_counts);
  output_.end_rows();
  output_.field("complete", !limit.cut() && !counts.cut());
  output_.end_section();
}

Task<void> Qcow2Dump::write_snapshots() {
  RowLimit limit(output_, request_.rows_max);
  output_.begin_section("snapshots");
  output_.begin_rows("entries");
  auto write = [&](const SnapshotRow& row) {
    if (!limit.takes()) return false;
    const auto field = [&row](std::size_t number) -> DumpValue {
      be64 value{};
      if (row.extra.size() < (number + 1) * sizeof value) return Nothing{};
      std::memcpy(&value, row.extra.data() + number * sizeof value, sizeof value);
      return std::uint64_t{value};
    };
    const std::span<const std::byte> extra = row.extra;
    const std::size_t known = std::min(extra.size(), sizeof(DiskSnapshotExtra));
    output_.row({{"index", row.index},
                 {"offset", Hex{row.place}},
                 {"id", row.id},
                 {"name", row.name},
                 {"l1_table_offset", Hex{row.disk.l1_table_offset}},
                 {"l1_size", std::uint64_t{row.disk.l1_size}},
                 {"date_sec", std::uint64_t{row.disk.date_sec}},
                 {"date_nsec", std::uint64_t{row.disk.date_nsec}},
                 {"vm_clock_nsec", std::uint64_t{row.disk.vm_clock_nsec}},
                 {"vm_state_size", std::uint64_t{row.disk.vm_state_size}},
                 {"extra_data_size", std::uint64_t{row.disk.extra_data_size}},
                 {"extra_vm_state_size", field(0)},
                 {"extra_disk_size", field(1)},
                 {"extra_icount", field(2)},
                 {"unknown_extra",
                  extra.size() > known ? DumpValue(hex_text(extra.subspan(known))) : Nothing{}},
                 {"problems", row.problems}});
    return true;
  };
  const Problems problems = co_await dump_snapshots(source(), write);
  output_.end_rows();
  output_.field("problems", problems);
  output_.field("complete", !limit.cut());
  output_.end_section();
}

Task<void> Qcow2Dump::write_bitmap_tables(const std::vector<BitmapRow>& bitmaps) {
  RowLimit limit(output_, request_.rows_max);
  output_.begin_rows("tables");
  std::uint64_t walked = 0;
  for (const BitmapRow& bitmap : bitmaps) {
    auto write = [&](const BitmapTableRow& row) {
      if (!limit.takes()) return false;
      const BitmapTableEntry entry(row.raw);
      const std::string_view kind = entry.offset() != 0 ? "bits"
                                    : entry.all_ones()  ? "ones"
                                                        : "zeroes";
      output_.row({{"bitmap", bitmap.index},
                   {"index", row.index},
                   {"entries", row.entries},
                   {"kind", std::string(kind)},
                   {"raw", Hex{row.raw}},
                   {"offset", entry.offset() != 0 ? DumpValue(Hex{entry.offset()}) : Nothing{}},
                   {"problems", row.problems}});
      return true;
    };
    walked += std::min<std::uint64_t>(bitmap.disk.bitmap_table_size * kWord, raw_.file_size);
    if (walked > kDumpTablesMax) break;
    co_await dump_bitmap_table(source(), bitmap.disk.bitmap_table_offset,
                               bitmap.disk.bitmap_table_size, write);
    if (limit.cut()) break;
  }
  output_.end_rows();
  output_.field("complete", !limit.cut() && walked <= kDumpTablesMax);
}

Task<void> Qcow2Dump::write_bitmaps() {
  std::vector<BitmapRow> rows;
  output_.begin_section("bitmaps");
  output_.begin_rows("directory");
  auto write = [&](const BitmapRow& row) {
    const DiskBitmapEntry& disk = row.disk;
    output_.row({{"index", row.index},
                 {"offset", Hex{row.place}},
                 {"name", row.name},
                 {"bitmap_table_offset", Hex{disk.bitmap_table_offset}},
                 {"bitmap_table_size", std::uint64_t{disk.bitmap_table_size}},
                 {"flags", Hex{disk.flags}},
                 {"in-use", (disk.flags & kBitmapInUse) != 0},
                 {"auto", (disk.flags & kBitmapAuto) != 0},
                 {"type", std::uint64_t{disk.type}},
                 {"granularity_bits", std::uint64_t{disk.granularity_bits}},
                 {"extra_data_size", std::uint64_t{disk.extra_data_size}},
                 {"problems", row.problems}});
    rows.push_back(row);
    return true;
  };
  const Problems problems = co_await dump_bitmaps(source(), write);
  output_.end_rows();
  co_await write_bitmap_tables(rows);
  output_.field("problems", problems);
  output_.end_section();
}

Task<void> Qcow2Dump::write_owners() {
  RowLimit limit(output_, request_.rows_max);
  const std::uint64_t at = *request_.owner;
  output_.begin_section("owners");
  output_.field("host-offset", Hex{at});
  output_.field("cluster", Hex{align_down(at, raw_.geometry->cluster_size())});
  std::optional<std::uint64_t> refcount;
  auto keep = [&refcount](const RefcountRow& row) {
    refcount = row.refcount;
    return true;
  };
  co_await dump_refcounts(source(), {.begin = at, .end = at + 1}, keep);
  output_.field("refcount", refcount ? DumpValue(*refcount) : Nothing{});
  output_.begin_rows("entries");
  auto write = [&](const Owner& owner) {
    if (!limit.takes()) return false;
    output_.row({{"kind", std::string(owner.kind)},
                 {"host-offset", Hex{owner.host_offset}},
                 {"host-length", Hex{owner.host_length}},
                 {"guest-offset", optional_hex(owner.guest_offset)},
                 {"snapshot", owner.snapshot ? DumpValue(*owner.snapshot) : Nothing{}},
                 {"name", owner.name.empty() ? DumpValue(Nothing{}) : DumpValue(owner.name)},
                 {"holds-offset", owner.holds_offset}});
    return true;
  };
  const Problems problems = co_await find_owners(source(), at, write);
  output_.end_rows();
  output_.field("problems", problems);
  output_.field("complete", !limit.cut());
  output_.end_section();
}

Task<void> Qcow2Dump::run() {
  raw_ = co_await read_raw_header(file_);
  if (request_.header || !raw_.geometry) write_header();
  if (!raw_.geometry) co_return;  // there is no saying where anything lies
  if (request_.l1) co_await write_l1();
  if (request_.l2) co_await write_l2();
  if (request_.refcounts) co_await write_refcounts();
  if (request_.snapshots) co_await write_snapshots();
  if (request_.bitmaps) co_await write_bitmaps();
  if (request_.owner) co_await write_owners();
}

}  // namespace

Task<void> dump_qcow2(File& file, const DumpRequest& request, DumpOutput& output,
                      const CancelToken* cancel) {
  Qcow2Dump dump(file, request, output, cancel);
  co_await dump.run();
}

}  // namespace platter::cli
