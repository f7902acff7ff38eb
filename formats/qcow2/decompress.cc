#include "formats/qcow2/decompress.h"

#include <libdeflate.h>
#include <zlib.h>
#include <zstd.h>

#include <memory>

namespace platter::qcow2 {
namespace {

std::unexpected<Error> broken(const char* why) {
  return fail(ErrorKind::corrupt_image, std::string("compressed data is broken: ") + why);
}

std::unexpected<Error> no_memory() {
  return fail(ErrorKind::out_of_memory, "no memory to decompress");
}

// True if it is a whole stream of exactly a cluster: then it is done.
bool inflate_quickly(std::span<const std::byte> compressed, std::span<std::byte> cluster) {
  struct Free {
    void operator()(libdeflate_decompressor* decompressor) const {
      libdeflate_free_decompressor(decompressor);
    }
  };
  static thread_local const std::unique_ptr<libdeflate_decompressor, Free> decompressor(
      libdeflate_alloc_decompressor());
  return decompressor != nullptr &&
         libdeflate_deflate_decompress(decompressor.get(), compressed.data(), compressed.size(),
                                       cluster.data(), cluster.size(),
                                       nullptr) == LIBDEFLATE_SUCCESS;
}

// Window bits: writers use 12, readers must take up to 15.
constexpr int kRawDeflate = -15;

// Two kinds of streams are good all the same: QEMU's tools take them.
Result<void> inflate_leniently(std::span<const std::byte> compressed,
                               std::span<std::byte> cluster) {
  z_stream stream{};
  if (::inflateInit2(&stream, kRawDeflate) != Z_OK) return no_memory();
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  stream.next_out = reinterpret_cast<Bytef*>(cluster.data());
  stream.avail_out = static_cast<uInt>(cluster.size());
  const int result = ::inflate(&stream, Z_FINISH);
  const bool full = stream.avail_out == 0;
  ::inflateEnd(&stream);
  // Z_BUF_ERROR with a full cluster: the stream goes on, or its end mark is missing.
  if ((result == Z_STREAM_END || result == Z_BUF_ERROR || result == Z_OK) && full) return {};
  return broken(result == Z_DATA_ERROR ? "not a deflate stream" : "it ends too early");
}

// Frame by frame, straight into the cluster: no window is allocated, whatever a frame asks for.
Result<void> unzstd_cluster(std::span<const std::byte> compressed, std::span<std::byte> cluster) {
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  static thread_local const std::unique_ptr<ZSTD_DCtx, Free> context(ZSTD_createDCtx());
  if (!context) return no_memory();
  while (!cluster.empty()) {
    if (compressed.empty()) return broken("it ends too early");
    const std::size_t length = ZSTD_findFrameCompressedSize(compressed.data(), compressed.size());
    if (ZSTD_isError(length) != 0) return broken(ZSTD_getErrorName(length));
    const std::size_t size = ZSTD_decompressDCtx(context.get(), cluster.data(), cluster.size(),
                                                 compressed.data(), length);
    if (ZSTD_isError(size) != 0) return broken(ZSTD_getErrorName(size));
    compressed = compressed.subspan(length);
    cluster = cluster.subspan(size);
  }
  return {};
}

}  // namespace

Result<void> decompress(CompressionType type, std::span<const std::byte> compressed,
                        std::span<std::byte> cluster) {
  switch (type) {
    case CompressionType::zlib:
      if (inflate_quickly(compressed, cluster)) return {};
      return inflate_leniently(compressed, cluster);
    case CompressionType::zstd: return unzstd_cluster(compressed, cluster);
  }
  return broken("unknown compression type");
}

}  // namespace platter::qcow2
