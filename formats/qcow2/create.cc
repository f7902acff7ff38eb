#include "formats/qcow2/create.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "formats/qcow2/create_layout.h"
#include "formats/qcow2/format.h"
#include "formats/qcow2/header_encode.h"
#include "formats/qcow2/table_writer.h"
#include "formats/raw/raw_create.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kCopied = std::uint64_t{1} << 63;
constexpr std::size_t kEntrySize = sizeof(be64);

void put(std::span<std::byte> into, std::size_t at, std::uint64_t value) {
  const be64 disk = value;
  std::memcpy(into.data() + at, &disk, sizeof disk);
}

// Sets counts of a refcount block (section "Refcount table and refcount blocks") from 0 to 1.
// Counts of less than a byte begin with its lowest bits.
void set_counts(std::span<std::byte> block, unsigned order, std::uint64_t first,
                std::uint64_t end) {
  if (order >= 3) {
    const std::size_t width = std::size_t{1} << (order - 3);
    for (std::uint64_t i = first; i < end; ++i) block[(i + 1) * width - 1] = std::byte{1};
    return;
  }
  for (std::uint64_t i = first; i < end; ++i) {
    const std::uint64_t bit = i << order;
    block[bit / 8] |= std::byte{1} << (bit % 8);
  }
}

// A header that is too long, in qemu-img's words: it adds the backing file's name at the end.
Result<std::vector<std::byte>> encode(const Header& header) {
  Header bare = header;
  bare.backing_file.reset();
  bare.backing_format.reset();
  if (Result<std::vector<std::byte>> without = encode_header(bare); !without) {
    return fail(ErrorKind::no_space, "Could not update qcow2 header: No space left on device");
  }
  Result<std::vector<std::byte>> bytes = encode_header(header);
  if (bytes) return bytes;
  const bool too_long = bytes.error().kind() == ErrorKind::too_large;
  return fail(too_long ? ErrorKind::invalid_argument : ErrorKind::no_space,
              fmt::format("Could not assign backing file '{}' with format '{}': {}",
                          header.backing_file.value_or(""), header.backing_format.value_or(""),
                          too_long ? "Invalid argument" : "No space left on device"));
}

class Creator {
 public:
  Creator(File& file, File* data_file, const CreatePlan& plan)
      : file_(file),
        data_file_(data_file),
        options_(plan.options),
        header_(plan.header),
        header_bytes_(plan.header_bytes),
        layout_(plan.layout) {}

  Task<void> run() {
    co_await check_devices();
    if (options_.in_place && file_.traits().is_block_device) co_await invalidate_image(file_);
    co_await make_room();
    co_await write_tables();
    co_await write_header();
  }

 private:
  Task<void> check_devices();
  Task<void> make_room();
  Task<void> make_data_file();
  Task<void> write_tables();
  Task<void> add_all(TableWriter& writer);
  Task<void> add_refcounts(TableWriter& writer);
  Task<void> add_maps(TableWriter& writer);
  Task<void> write_header();
  void fill_refcounts(std::uint64_t block, std::uint64_t position, std::span<std::byte> into) const;
  void fill_l2(std::uint64_t index, std::uint64_t position, std::span<std::byte> into) const;
  std::uint64_t offset_of(std::uint64_t cluster) const noexcept {
    return cluster << header_.cluster_bits;
  }
  std::uint64_t tail_length() const noexcept { return layout_.tail_end - layout_.tail_begin; }
  ResizeOptions layout_options(Preallocation mode) const {
    return {.preallocation = mode == Preallocation::metadata ? Preallocation::off : mode,
            .cancel = options_.cancel};
  }

  File& file_;
  File* data_file_;
  const CreateOptions& options_;
  const Header& header_;
  const std::vector<std::byte>& header_bytes_;
  const Layout& layout_;
};

// Their sizes are what they are.
Task<void> Creator::check_devices() {
  if (data_file_ != nullptr && data_file_->traits().is_block_device) co_await make_data_file();
  if (!file_.traits().is_block_device) co_return;
  if (layout_.reserve_end > layout_.reserve_begin) {
    co_await fail(ErrorKind::unsupported,
                  fmt::format("Could not resize image: Failed to resize underlying file: "
                              "Unsupported preallocation mode '{}'",
                              to_string(options_.preallocation)));
  }
  const std::uint64_t size = co_await file_.size();
  if (layout_.file_size > size) {
    co_await fail(ErrorKind::no_space, fmt::format("'{}' is a device of {} bytes, smaller than the "
                                                   "{} that the image needs",
                                                   file_.name(), size, layout_.file_size));
  }
}

// The size is set first: direct writes that extend a file wait for each other.
Task<void> Creator::make_room() {
  const Preallocation mode = options_.effective_preallocation();
  if (data_file_ != nullptr && !data_file_->traits().is_block_device) co_await make_data_file();
  if (file_.traits().is_block_device) co_return;
  if (layout_.reserve_end > layout_.reserve_begin) {
    co_await file_.truncate(layout_.reserve_begin);
    co_await resize_raw(file_, layout_.reserve_begin, layout_.reserve_end, layout_options(mode));
  }
  co_await file_.truncate(layout_.file_size);
}

Task<void> Creator::make_data_file() {
  co_await create_raw(*data_file_, header_.size,
                      layout_options(options_.effective_preallocation()));
  if (data_file_->traits().is_block_device) co_return;
  co_await data_file_->write_zeroes(layout_.tail_begin, tail_length(), ZeroMode::keep_allocated);
}

Task<void> Creator::write_tables() {
  auto add_tables = [this](TaskGroup& group) -> Task<void> {
    TableWriter writer(file_, group, options_.cancel);
    co_await add_all(writer);
    co_await writer.finish();
  };
  co_await with_group(TableWriter::kInFlight, add_tables);
}

Task<void> Creator::add_all(TableWriter& writer) {
  auto fill_header = [this](std::uint64_t position, std::span<std::byte> into) {
    if (position >= header_bytes_.size()) return;
    const auto rest = std::span(header_bytes_).subspan(position);
    std::ranges::copy(rest.first(std::min(rest.size(), into.size())), into.begin());
    // The magic: not yet.
    const bool withheld = options_.in_place && position == 0;
    if (withheld) std::memset(into.data(), 0, kSectorSize);
  };
  co_await writer.add(0, header_.cluster_size(), fill_header);
  co_await add_refcounts(writer);
  co_await add_maps(writer);
  if (data_file_ == nullptr) co_await writer.add(layout_.tail_begin, tail_length(), nullptr);
}

Task<void> Creator::add_refcounts(TableWriter& writer) {
  const auto add_table = [&](std::uint64_t cluster, const std::vector<std::uint64_t>& blocks) {
    return writer.add(offset_of(cluster), blocks.size() * kEntrySize,
                      [this, &blocks](std::uint64_t position, std::span<std::byte> into) {
                        for (std::size_t at = 0; at < into.size(); at += kEntrySize) {
                          put(into, at, offset_of(blocks[(position + at) / kEntrySize]));
                        }
                      });
  };
  co_await add_table(layout_.refcount_table_cluster, layout_.refcount_blocks);
  for (const auto& [cluster, blocks] : layout_.abandoned) co_await add_table(cluster, blocks);
  for (std::uint64_t i = 0; i < layout_.refcount_blocks.size(); ++i) {
    if (layout_.refcount_blocks[i] == 0) continue;
    auto fill = [this, i](std::uint64_t position, std::span<std::byte> into) {
      fill_refcounts(i, position, into);
    };
    co_await writer.add(offset_of(layout_.refcount_blocks[i]), header_.cluster_size(), fill);
  }
}

void Creator::fill_refcounts(std::uint64_t block, std::uint64_t position,
                             std::span<std::byte> into) const {
  const unsigned order = header_.refcount_order;
  const std::uint64_t first = ((block << header_.cluster_bits) + position) * 8 >> order;
  const std::uint64_t count = into.size() * 8 >> order;
  for (const ClusterSet::Run& run : layout_.used.runs_within(first, first + count)) {
    set_counts(into, order, run.first - first, run.end - first);
  }
}

Task<void> Creator::add_maps(TableWriter& writer) {
  auto fill_l1 = [this](std::uint64_t position, std::span<std::byte> into) {
    for (std::size_t at = 0; at < into.size() && !layout_.l2_tables.empty(); at += kEntrySize) {
      put(into, at, offset_of(layout_.l2_tables[(position + at) / kEntrySize]) | kCopied);
    }
  };
  co_await writer.add(header_.l1_table_offset, header_.l1_size * kEntrySize, fill_l1);
  for (std::uint64_t i = 0; i < layout_.l2_tables.size(); ++i) {
    auto fill = [this, i](std::uint64_t position, std::span<std::byte> into) {
      fill_l2(i, position, into);
    };
    co_await writer.add(offset_of(layout_.l2_tables[i]), header_.cluster_size(), fill);
  }
}

// Extended entries have no subcluster allocated yet: they read as zeroes, or as the backing file.
void Creator::fill_l2(std::uint64_t index, std::uint64_t position,
                      std::span<std::byte> into) const {
  const std::uint64_t entry_size = header_.l2_entry_size();
  const std::uint64_t first = (index << header_.l2_bits()) + position / entry_size;
  const std::uint64_t clusters =
      align_up(header_.size, header_.cluster_size()) >> header_.cluster_bits;
  const std::uint64_t end = std::min(first + into.size() / entry_size, clusters);
  const auto fill_run = [&](std::uint64_t guest, std::uint64_t host, std::uint64_t run_end) {
    for (; guest < run_end; ++guest, ++host) {
      put(into, (guest - first) * entry_size, offset_of(host) | kCopied);
    }
  };
  if (header_.has_data_file()) return fill_run(first, first, end);
  auto run = std::ranges::upper_bound(layout_.data, first, {}, &DataRun::guest_cluster);
  for (--run; run != layout_.data.end() && run->guest_cluster < end; ++run) {
    const std::uint64_t guest = std::max(first, run->guest_cluster);
    fill_run(guest, run->host_cluster + (guest - run->guest_cluster),
             std::min(end, run->guest_cluster + run->count));
  }
}

Task<void> Creator::write_header() {
  if (!options_.in_place) co_return;
  co_await file_.flush();
  std::array<std::byte, kSectorSize> sector{};
  const auto start = std::span(header_bytes_).first(std::min(header_bytes_.size(), sector.size()));
  std::ranges::copy(start, sector.begin());
  co_await file_.write(0, sector);
}

}  // namespace

Result<CreatePlan> plan_image(CreateOptions options) {
  if (auto good = check(options); !good) return fail(std::move(good.error()));
  CreatePlan plan{.options = std::move(options), .header = {}, .header_bytes = {}, .layout = {}};
  plan.header = header_of(plan.options);
  Result<Layout> layout = plan_layout(plan.header, plan.options.effective_preallocation());
  if (!layout) return fail(std::move(layout.error()));
  plan.layout = *std::move(layout);
  const unsigned bits = plan.header.cluster_bits;
  plan.header.l1_size = plan.layout.l1_size;
  plan.header.l1_table_offset = plan.layout.l1_cluster << bits;
  plan.header.refcount_table_offset = plan.layout.refcount_table_cluster << bits;
  plan.header.refcount_table_clusters =
      static_cast<std::uint32_t>(plan.layout.refcount_blocks.size() * kEntrySize >> bits);
  Result<std::vector<std::byte>> bytes = encode(plan.header);
  if (!bytes) return fail(std::move(bytes.error()));
  plan.header_bytes = *std::move(bytes);
  return plan;
}

Task<void> invalidate_image(File& file) {
  const std::array<std::byte, kSectorSize> nothing{};
  const std::uint64_t size = co_await file.size();
  if (size > 0) co_await file.write(0, nothing);
  co_await file.flush();
}

Task<void> create_qcow2(File& file, File* data_file, const CreatePlan& plan) {
  Creator creator(file, data_file, plan);
  co_await creator.run();
}

}  // namespace platter::qcow2
