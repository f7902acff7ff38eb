// Optical discs: ECMA-119 (ISO 9660) and ECMA-167 (UDF) volume descriptors, from sector 16 on.
#include <fmt/format.h>

#include "formats/inspect/detector.h"
#include "io/bytes.h"

namespace platter::inspect {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kFirstAt = 32 * kKiB;
constexpr std::uint64_t kDescriptorSize = 2 * kKiB;
constexpr unsigned kDescriptorsMax = 32;
constexpr std::uint8_t kPrimary = 1;

bool is_iso(const Bytes& descriptor) { return descriptor.has(1, "CD001"sv); }
bool is_udf(const Bytes& descriptor) {
  return descriptor.has(1, "NSR02"sv) || descriptor.has(1, "NSR03"sv) ||
         descriptor.has(1, "BEA01"sv) || descriptor.has(1, "TEA01"sv);
}

void check_primary(const Bytes& descriptor, std::uint64_t at, std::uint64_t file_size,
                   Detection& found) {
  const std::uint64_t blocks = descriptor.le32(80);
  const std::uint64_t block_size = descriptor.le16(128);
  if (blocks * block_size <= file_size) return;
  found.note(code::kTruncated,
             fmt::format("the volume has {} bytes, the file fewer", blocks * block_size), at);
}

}  // namespace

Task<Detection> detect_iso(BoundedReader& file) {
  Detection found;
  for (unsigned i = 0; i < kDescriptorsMax; ++i) {
    const std::uint64_t at = kFirstAt + i * kDescriptorSize;
    const Bytes descriptor = file.head().from(at, kDescriptorSize);
    const bool iso = is_iso(descriptor);
    if (!iso && !is_udf(descriptor)) break;
    found.matches = true;
    if (iso && descriptor.u8(0) == kPrimary) check_primary(descriptor, at, file.file_size(), found);
  }
  co_return found;
}

}  // namespace platter::inspect
