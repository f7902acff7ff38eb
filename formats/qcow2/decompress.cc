#include "formats/qcow2/decompress.h"

#include <zlib.h>
#include <zstd.h>

#include <memory>

namespace platter::qcow2 {
namespace {

std::unexpected<Error> broken(const char* why) {
  return fail(ErrorKind::corrupt_image, std::string("compressed data is broken: ") + why);
}

// Window bits: writers use 12, readers must take up to 15.
constexpr int kRawDeflate = -15;

Result<void> inflate_cluster(std::span<const std::byte> compressed, std::span<std::byte> cluster) {
  z_stream stream{};
  if (::inflateInit2(&stream, kRawDeflate) != Z_OK) {
    return fail(ErrorKind::out_of_memory, "no memory to decompress");
  }
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  stream.next_out = reinterpret_cast<Bytef*>(cluster.data());
  stream.avail_out = static_cast<uInt>(cluster.size());
  const int result = ::inflate(&stream, Z_FINISH);
  const bool full = stream.avail_out == 0;
  ::inflateEnd(&stream);
  // Z_BUF_ERROR with a full cluster: the stream goes on, or its end mark is missing; QEMU's tools
  // take both.
  if ((result == Z_STREAM_END || result == Z_BUF_ERROR || result == Z_OK) && full) return {};
  return broken(result == Z_DATA_ERROR ? "not a deflate stream" : "it ends too early");
}

Result<void> unzstd_cluster(std::span<const std::byte> compressed, std::span<std::byte> cluster) {
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  const std::unique_ptr<ZSTD_DCtx, Free> context(ZSTD_createDCtx());
  if (!context) return fail(ErrorKind::out_of_memory, "no memory to decompress");
  ZSTD_inBuffer in{compressed.data(), compressed.size(), 0};
  ZSTD_outBuffer out{cluster.data(), cluster.size(), 0};
  std::size_t left_in_frame = 0;
  while (out.pos < out.size) {
    const std::size_t in_before = in.pos;
    const std::size_t out_before = out.pos;
    left_in_frame = ZSTD_decompressStream(context.get(), &out, &in);
    if (ZSTD_isError(left_in_frame) != 0) return broken(ZSTD_getErrorName(left_in_frame));
    const bool stuck = in.pos == in_before && out.pos == out_before;
    if (stuck) return broken("it ends too early");
  }
  if (left_in_frame != 0) return broken("it holds more than a cluster");
  return {};
}

}  // namespace

Result<void> decompress(CompressionType type, std::span<const std::byte> compressed,
                        std::span<std::byte> cluster) {
  switch (type) {
    case CompressionType::zlib: return inflate_cluster(compressed, cluster);
    case CompressionType::zstd: return unzstd_cluster(compressed, cluster);
  }
  return broken("unknown compression type");
}

}  // namespace platter::qcow2
