// Any bytes as a compressed cluster, and as one to compress.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "formats/qcow2/compress.h"
#include "formats/qcow2/decompress.h"
#include "io/check.h"

namespace {

using platter::qcow2::CompressionType;
using Bytes = std::vector<std::byte>;

constexpr CompressionType kTypes[] = {CompressionType::zlib, CompressionType::zstd};

void decompress(std::span<const std::byte> bytes) {
  for (const CompressionType type : kTypes) {
    Bytes cluster(4096);
    (void)platter::qcow2::decompress(type, bytes, cluster).has_value();
  }
}

void round_trip(std::span<const std::byte> cluster) {
  for (const CompressionType type : kTypes) {
    Bytes out(cluster.size());
    const auto size = platter::qcow2::compress(type, cluster, out);
    PLATTER_CHECK(size && *size <= out.size());
    if (*size == 0) continue;
    Bytes again(cluster.size());
    PLATTER_CHECK(platter::qcow2::decompress(type, std::span(out).first(*size), again).has_value());
    PLATTER_CHECK(std::ranges::equal(again, cluster));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  decompress(bytes);
  if (size > 0) round_trip(bytes);
  return 0;
}
