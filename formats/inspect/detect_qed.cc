// QED, as in QEMU's docs/interop/qed_spec.txt. Little-endian.
#include <algorithm>

#include <fmt/format.h>

#include "formats/inspect/detector.h"
#include "io/bytes.h"

namespace platter::inspect {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kFeatureBackingFile = 1;
constexpr std::uint64_t kFeatureNeedCheck = 2;
constexpr std::uint64_t kFeatureBackingRaw = 4;
constexpr std::uint64_t kKnown = kFeatureBackingFile | kFeatureNeedCheck | kFeatureBackingRaw;
constexpr std::uint64_t kFeaturesAt = 16;
constexpr std::uint32_t kClusterMin = 4 * kKiB;
constexpr std::uint32_t kClusterMax = 64 * kMiB;
constexpr std::uint32_t kTableClustersMax = 16;

void check_geometry(const Bytes& head, std::uint64_t file_size, Detection& found) {
  const std::uint32_t cluster = head.le32(4);
  const std::uint32_t table = head.le32(8);
  if (cluster < kClusterMin || cluster > kClusterMax || (cluster & (cluster - 1)) != 0 ||
      table == 0 || table > kTableClustersMax || (table & (table - 1)) != 0) {
    found.unsafe(code::kHeader,
                 fmt::format("clusters of {} bytes and tables of {} clusters are not possible",
                             cluster, table),
                 4);
    return;
  }
  const std::uint64_t l1 = head.le64(40);
  if (!is_aligned(l1, cluster) || !in_bounds(l1, std::uint64_t{cluster} * table, file_size)) {
    found.unsafe(code::kTruncated, "the L1 table is not within the file", 40);
  }
}

}  // namespace

Task<Detection> detect_qed(BoundedReader& file) {
  Detection found;
  const Bytes head = file.head();
  if (!head.has(0, "QED\0"sv)) co_return found;
  found.matches = true;
  found.virtual_size = head.le64(48);
  const std::uint64_t features = head.le64(kFeaturesAt);
  if ((features & kFeatureBackingFile) != 0) {
    const Bytes name = head.from(head.le32(56), std::min(head.le32(60), 1023U));
    found.unsafe(code::kBackingFile, "the image has a backing file: " + quoted(name.text()),
                 head.le32(56));
  }
  if ((features & ~kKnown) != 0) {
    found.unsafe(code::kFeatures,
                 fmt::format("unknown incompatible features: {:#x}", features & ~kKnown),
                 kFeaturesAt);
  }
  if ((features & kFeatureNeedCheck) != 0) {
    found.note(code::kDirty, "the image was not closed properly", kFeaturesAt);
  }
  check_geometry(head, file.file_size(), found);
  co_return found;
}

}  // namespace platter::inspect
