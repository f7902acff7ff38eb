// Any bytes as a qcow2 header: what is accepted is written again, and read the same.
#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/qcow2/header_encode.h"
#include "io/check.h"

namespace {

void round_trip(std::span<const std::byte> area) {
  const auto header = platter::qcow2::parse_header(area);
  if (!header) return;
  const auto bytes = platter::qcow2::encode_header(*header);
  if (!bytes) return;  // with the feature names it may be more than a cluster
  const auto again = platter::qcow2::parse_header(*bytes);
  PLATTER_CHECK(again && *again == *header);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  round_trip({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
