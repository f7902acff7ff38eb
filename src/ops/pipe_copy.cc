#include "src/ops/pipe_copy.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "formats/probe.h"
#include "formats/qcow2/stream_layout.h"
#include "io/bytes.h"
#include "io/ring.h"
#include "io/task_group.h"
#include "io/zero.h"

namespace platter {
namespace {

constexpr std::uint64_t kChunk = 1 * kMiB;
constexpr std::size_t kChunksInFlight = 8;
constexpr std::uint64_t kGrowthMin = 64 * kMiB;
constexpr std::size_t kMappingsAtOnce = 256;
// Of what goes out: one part is read while the one before it is written.
constexpr std::uint64_t kPart = 8 * kMiB;

// Takes what a pipe brings, chunk by chunk, and writes several chunks at once.
class PipeIntake {
 public:
  PipeIntake(PipeReader& source, Image& target, bool may_grow, bool any_format,
             const CopyOptions& options)
      : source_(source),
        target_(target),
        may_grow_(may_grow),
        any_format_(any_format),
        options_(options) {}

  Task<CopyStats> run();

 private:
  Task<void> read_all(TaskGroup& group);
  Result<void> look_at_start(std::span<const std::byte> head) const;
  std::size_t padded(std::uint64_t offset, std::size_t count) const;
  Task<void> make_room(std::uint64_t end);
  Task<void> write_chunk(Buffer buffer, std::uint64_t offset, std::size_t length);
  Task<void> write_run(std::uint64_t offset, std::span<const std::byte> data, bool zero);

  PipeReader& source_;
  Image& target_;
  bool may_grow_;
  bool any_format_;
  const CopyOptions& options_;
  CopyStats stats_;
};

Task<CopyStats> PipeIntake::run() {
  auto body = [this](TaskGroup& group) { return read_all(group); };
  co_await with_group(kChunksInFlight, body);
  if (may_grow_) {
    co_await target_.resize(align_up(stats_.read, kSectorSize),
                            ResizeOptions{.cancel = options_.cancel});
  }
  co_return stats_;
}

Task<void> PipeIntake::read_all(TaskGroup& group) {
  const std::size_t chunk = std::max(kChunk, options_.compress_unit);
  for (std::uint64_t offset = 0; !group.failed();) {
    Buffer buffer = co_await Ring::current().buffers().acquire(chunk);
    const std::size_t count = co_await source_.read(buffer.bytes(), options_.cancel);
    if (offset == 0) co_await look_at_start(buffer.first(count));
    if (count == 0) co_return;
    const std::size_t length = padded(offset, count);
    std::memset(buffer.data() + count, 0, length - count);
    co_await make_room(offset + length);
    stats_.read += count;
    co_await group.spawn(write_chunk(std::move(buffer), offset, length));
    if (count < chunk) co_return;
    offset += count;
  }
}

// Compressed data comes in whole clusters: what is too much is cut off at the end.
std::size_t PipeIntake::padded(std::uint64_t offset, std::size_t count) const {
  const std::size_t sectors = align_up(count, kSectorSize);
  if (options_.compress_unit == 0) return sectors;
  const std::size_t clusters = align_up(count, options_.compress_unit);
  const std::uint64_t size = target_.virtual_size();
  const bool fits = may_grow_ || offset + clusters <= size;
  return fits ? clusters : std::max<std::size_t>(sectors, size - std::min(size, offset));
}

Result<void> PipeIntake::look_at_start(std::span<const std::byte> head) const {
  if (any_format_) return {};
  const std::string_view format = probe_format(head.first(std::min(head.size(), kProbeSize)));
  if (format == "raw") return {};
  return fail(ErrorKind::unknown_format,
              "'" + source_.name() + "' brings what looks like format '" + std::string(format) +
                  "', and only raw images can be read from a pipe; with an explicit format 'raw' "
                  "its bytes are taken as they are");
}

// The size grows in steps, each as large as all before: few changes, and few writes that extend.
Task<void> PipeIntake::make_room(std::uint64_t end) {
  const std::uint64_t size = target_.virtual_size();
  if (end <= size) co_return;
  if (!may_grow_) {
    co_await fail(ErrorKind::no_space, "'" + target_.filename() + "' is a target of " +
                                           std::to_string(size) + " bytes, and '" + source_.name() +
                                           "' brings more");
  }
  const std::uint64_t step = std::max(kGrowthMin, size);
  co_await target_.resize(std::max(end, size + step), ResizeOptions{.cancel = options_.cancel});
}

Task<void> PipeIntake::write_chunk(Buffer buffer, std::uint64_t offset, std::size_t length) {
  std::span<const std::byte> data = buffer.first(length);
  const std::uint64_t unit =
      options_.compress_unit != 0 ? options_.compress_unit : options_.sparse_size;
  while (!data.empty()) {
    bool zero = false;
    std::size_t run = data.size();
    if (options_.sparse_size != 0) run = uniform_prefix(data, unit, zero);
    co_await write_run(offset, data.first(run), zero);
    offset += run;
    data = data.subspan(run);
  }
  if (options_.progress != nullptr) options_.progress->add(length);
}

Task<void> PipeIntake::write_run(std::uint64_t offset, std::span<const std::byte> data, bool zero) {
  if (zero && options_.target_is_zero) {
    stats_.skipped += data.size();
  } else if (zero) {
    co_await target_.write_zeroes(offset, data.size(), ZeroMode::may_unmap);
    stats_.zeroed += data.size();
  } else if (options_.compress_unit != 0) {
    // The last cluster of an image whose end is not known yet: whole.
    co_await target_.write_compressed(offset, data);
    stats_.written += data.size();
  } else {
    co_await target_.write(offset, data);
    stats_.written += data.size();
  }
}

// Writes `size` bytes in order. `read` gets any of them, several at once.
class PipeOutput {
 public:
  using Read = std::function<Task<void>(std::uint64_t offset, std::span<std::byte> into)>;

  PipeOutput(PipeWriter& target, Read read, const CopyOptions& options)
      : target_(target), read_(std::move(read)), options_(options) {}

  Task<void> run(std::uint64_t size);

 private:
  Task<void> read_part(std::uint64_t offset, std::span<std::byte> into);
  Task<void> write_part(std::span<const std::byte> data);

  PipeWriter& target_;
  Read read_;
  const CopyOptions& options_;
};

Task<void> PipeOutput::run(std::uint64_t size) {
  Buffer parts[2] = {co_await Ring::current().buffers().acquire(kPart),
                     co_await Ring::current().buffers().acquire(kPart)};
  std::span<std::byte> ready;
  for (std::uint64_t at = 0; at < size || !ready.empty();) {
    const std::span<std::byte> next =
        parts[at / kPart % 2].first(std::min(kPart, size - std::min(at, size)));
    auto both = [&](TaskGroup& group) -> Task<void> {
      if (!next.empty()) co_await group.spawn(read_part(at, next));
      if (!ready.empty()) co_await group.spawn(write_part(ready));
    };
    co_await with_group(2, both);
    at += next.size();
    ready = next;
  }
  co_await target_.finish();
}

Task<void> PipeOutput::read_part(std::uint64_t offset, std::span<std::byte> into) {
  auto pieces = [&](TaskGroup& group) -> Task<void> {
    for (std::size_t at = 0; at < into.size() && !group.failed(); at += kChunk) {
      const std::size_t length = std::min<std::size_t>(kChunk, into.size() - at);
      co_await group.spawn(read_(offset + at, into.subspan(at, length)));
    }
  };
  co_await with_group(kChunksInFlight, pieces);
}

Task<void> PipeOutput::write_part(std::span<const std::byte> data) {
  co_await target_.write(data, options_.cancel);
  if (options_.progress != nullptr) options_.progress->add(data.size());
}

// Clusters that hold any data, in order, as few runs as there are.
Task<std::vector<qcow2::GuestRun>> clusters_with_data(Image& source, std::uint64_t cluster_size,
                                                      const CancelToken* cancel) {
  std::vector<qcow2::GuestRun> runs;
  const std::uint64_t size = source.virtual_size();
  for (std::uint64_t at = 0; at < size;) {
    if (cancel != nullptr) co_await cancel->check();
    for (const Mapping& mapping : co_await source.map_chain(at, size - at, kMappingsAtOnce)) {
      at = mapping.offset + mapping.length;
      const bool data =
          mapping.kind == MappingKind::data || mapping.kind == MappingKind::compressed;
      if (!data) continue;
      std::uint64_t first = mapping.offset / cluster_size;
      const std::uint64_t end = (at + cluster_size - 1) / cluster_size;
      if (!runs.empty()) first = std::max(first, runs.back().first + runs.back().count);
      if (first >= end) continue;
      if (!runs.empty() && runs.back().first + runs.back().count == first) {
        runs.back().count += end - first;
      } else {
        runs.push_back({first, end - first});
      }
    }
  }
  co_return runs;
}

// Guest bytes; zeroes behind the end of the disk.
Task<void> read_guest(Image& source, std::uint64_t offset, std::span<std::byte> into) {
  const std::uint64_t size = source.virtual_size();
  const std::size_t inside = std::min<std::uint64_t>(into.size(), size - std::min(offset, size));
  co_await source.read(offset, into.first(inside));
  std::memset(into.data() + inside, 0, into.size() - inside);
}

Task<void> read_stream(const qcow2::StreamLayout& layout, Image& source, std::uint64_t offset,
                       std::span<std::byte> into) {
  if (offset < layout.data_begin()) {
    const std::size_t length = std::min<std::uint64_t>(into.size(), layout.data_begin() - offset);
    layout.fill(offset, into.first(length));
    into = into.subspan(length);
    offset += length;
  }
  while (!into.empty()) {
    const auto range = layout.guest_range_at(offset, into.size());
    co_await read_guest(source, range.offset, into.first(range.length));
    into = into.subspan(range.length);
    offset += range.length;
  }
}

}  // namespace

Task<CopyStats> copy_from_pipe(PipeReader& source, Image& target, bool may_grow, bool any_format,
                               CopyOptions options) {
  options.sparse_size = std::min(options.sparse_size, kChunk);
  PipeIntake intake(source, target, may_grow, any_format, options);
  co_return co_await intake.run();
}

Task<CopyStats> copy_to_pipe(Image& source, PipeWriter& target, const CopyOptions& options) {
  const std::uint64_t size = source.virtual_size();
  if (options.progress != nullptr) options.progress->set_total(size);
  auto read = [&source](std::uint64_t offset, std::span<std::byte> into) {
    return source.read(offset, into);
  };
  PipeOutput output(target, read, options);
  co_await output.run(size);
  co_return CopyStats{.read = size, .written = size};
}

Task<CopyStats> copy_to_pipe_as_qcow2(Image& source, PipeWriter& target, qcow2::CreateOptions qcow2,
                                      const CopyOptions& options) {
  qcow2.size = source.virtual_size();
  co_await qcow2::check(qcow2);  // before all of the source is looked at
  const std::uint64_t cluster_size = qcow2.cluster_size;
  std::vector<qcow2::GuestRun> data =
      co_await clusters_with_data(source, cluster_size, options.cancel);
  const qcow2::StreamLayout layout =
      co_await qcow2::StreamLayout::plan(std::move(qcow2), std::move(data));
  const std::uint64_t size = layout.file_size();
  if (options.progress != nullptr) options.progress->set_total(size);
  auto read = [&layout, &source](std::uint64_t offset, std::span<std::byte> into) {
    return read_stream(layout, source, offset, into);
  };
  PipeOutput output(target, read, options);
  co_await output.run(size);
  co_return CopyStats{.read = size - layout.data_begin(), .written = size};
}

}  // namespace platter
