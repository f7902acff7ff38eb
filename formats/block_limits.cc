#include "formats/block_limits.h"

#include <unistd.h>

#include <algorithm>
#include <climits>

#include "io/bytes.h"
#include "io/device_limits.h"
#include "io/direct_file.h"

namespace platter {
namespace {

constexpr std::uint32_t kSubclusters = 32;  // of a cluster, with extended L2 entries

bool is_file_node(std::string_view format) { return format == "file" || format == "host_device"; }

Result<DeviceLimits> device_limits_of(const File& file) {
  const auto* direct = dynamic_cast<const DirectFile*>(&file);
  return direct != nullptr ? read_device_limits(direct->fd()) : DeviceLimits{};
}

void add_qcow2_limits(BlockLimits& limits, const ImageInfo& info) {
  const auto cluster = static_cast<std::uint32_t>(info.cluster_size.value_or(0));
  limits.discard_alignment = cluster;
  limits.write_zeroes_alignment = info.qcow2->extended_l2 ? cluster / kSubclusters : cluster;
  if (info.encrypted) limits.request_alignment = kSectorSize;
}

}  // namespace

Result<BlockLimits> block_limits_of(Image& image, const ImageInfo& info, bool guessed) {
  const File& file = *image.file().locate(0).file;
  const FileTraits& traits = file.traits();
  const Result<DeviceLimits> device = device_limits_of(file);
  if (!device) return fail(device.error().clone());
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  BlockLimits limits{
      .hardware_transfer_max = device->transfer_max,
      .iov_max = IOV_MAX,
      .hardware_iov_max = device->segments_max,
      .memory_alignment_min = traits.memory_alignment,
      .memory_alignment_best = std::max<std::uint64_t>(traits.memory_alignment, page)};
  if (is_file_node(info.format)) {
    limits.request_alignment = traits.request_alignment;
    limits.discard_alignment = device->discard_granularity;
  } else if (info.qcow2) {
    add_qcow2_limits(limits, info);
  } else if (guessed || info.format == "luks") {
    // Of what was guessed to be raw, the first sector is written as a whole, and looked at.
    limits.request_alignment = kSectorSize;
  }
  return limits;
}

}  // namespace platter
