#include "src/ops/measure.h"

#include <algorithm>
#include <utility>

#include "formats/qcow2/measure.h"
#include "io/bytes.h"

namespace platter {
namespace {

constexpr std::size_t kMappingsAtOnce = 1024;

// Bytes of target clusters that hold any data.
Task<std::uint64_t> clusters_with_data(Image& source, std::uint64_t cluster_size,
                                       const CancelToken* cancel) {
  const std::uint64_t size = source.virtual_size();
  std::uint64_t sum = 0;
  std::uint64_t counted_to = 0;
  for (std::uint64_t at = 0; at < size;) {
    if (cancel != nullptr) co_await cancel->check();
    const auto mappings = co_await source.map_chain(at, size - at, kMappingsAtOnce);
    for (const Mapping& mapping : mappings) {
      at = mapping.offset + mapping.length;
      const bool data =
          mapping.kind == MappingKind::data || mapping.kind == MappingKind::compressed;
      if (!data || at <= counted_to) continue;
      const std::uint64_t begin = std::max(counted_to, align_down(mapping.offset, cluster_size));
      counted_to = align_up(at, cluster_size);
      sum += counted_to - begin;
    }
  }
  co_return sum;
}

}  // namespace

Result<Measurement> measure_empty(const std::string& format, const qcow2::CreateOptions& options) {
  if (format != "qcow2") {
    const std::uint64_t size = align_up(options.size, kSectorSize);
    return Measurement{.required = size, .fully_allocated = size, .bitmaps = std::nullopt};
  }
  // The clusters are looked at before the size.
  Result<qcow2::FileSizes> sizes = qcow2::measure(options, 0);
  if (!sizes) return fail(std::move(sizes.error()));
  if (Result<void> possible = qcow2::check_disk_size(options); !possible) {
    return fail(std::move(possible.error()));
  }
  return Measurement{.required = sizes->required,
                     .fully_allocated = sizes->fully_allocated,
                     .bitmaps = std::nullopt};
}

Task<Measurement> measure_copy(Image& source, std::string format, qcow2::CreateOptions options,
                               const CancelToken* cancel) {
  options.size = source.virtual_size();
  if (format != "qcow2") {
    co_return Measurement{.required = options.size, .fully_allocated = options.size};
  }
  co_await qcow2::measure(options, 0);  // before all of the source is looked at
  const std::uint64_t data =
      options.backing_file ? align_up(options.size, options.cluster_size)
                           : co_await clusters_with_data(source, options.cluster_size, cancel);
  const qcow2::FileSizes sizes = co_await qcow2::measure(options, data);
  Measurement measured{.required = sizes.required, .fully_allocated = sizes.fully_allocated};
  const ImageInfo info = co_await source.info();
  if (info.qcow2 && info.qcow2->version >= 3 && options.version >= 3) {
    measured.bitmaps =
        qcow2::measure_bitmaps(info.qcow2->bitmaps, options.size, options.cluster_size);
  }
  co_return measured;
}

}  // namespace platter
