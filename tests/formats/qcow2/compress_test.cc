// Compressed clusters can be read back, also by readers that keep a window of 4 KiB only.
#include "formats/qcow2/compress.h"

#include <zlib.h>

#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/decompress.h"
#include "tests/support/random_ops.h"

namespace platter::qcow2 {
namespace {

using Bytes = std::vector<std::byte>;

// Words, repeated from near and from far: a compressor with a large window would refer back to
// what is more than 4 KiB away.
Bytes text(std::size_t size, std::uint64_t seed) {
  const Bytes words = test::random_bytes(3000, seed);
  const Bytes choices = test::random_bytes(size, seed + 1);
  Bytes made;
  while (made.size() < size) {
    const auto at = std::to_integer<std::size_t>(choices[made.size() % size]) * 11;
    const auto begin = words.begin() + static_cast<std::ptrdiff_t>(at);
    made.insert(made.end(), begin, begin + 20);
  }
  made.resize(size);
  return made;
}

// Inflates in small steps: only the window is there to refer back to.
Bytes inflate_with_small_window(std::span<const std::byte> compressed) {
  z_stream stream{};
  EXPECT_EQ(::inflateInit2(&stream, -12), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  Bytes out;
  int result = Z_OK;
  while (result == Z_OK) {
    std::byte step[64];
    stream.next_out = reinterpret_cast<Bytef*>(step);
    stream.avail_out = sizeof step;
    result = ::inflate(&stream, Z_NO_FLUSH);
    out.insert(out.end(), step, step + (sizeof step - stream.avail_out));
  }
  EXPECT_EQ(result, Z_STREAM_END) << (stream.msg != nullptr ? stream.msg : "");
  ::inflateEnd(&stream);
  return out;
}

TEST(Compress, WhatIsCompressedIsReadBack) {
  for (const auto type : {CompressionType::zlib, CompressionType::zstd}) {
    for (unsigned bits = 9; bits <= 21; ++bits) {
      const Bytes cluster = text(std::size_t{1} << bits, bits);
      Bytes out(cluster.size() - 1);
      const auto size = compress(type, cluster, out);
      ASSERT_TRUE(size);
      if (bits >= 13) ASSERT_GT(*size, 0U);
      if (*size == 0) continue;
      Bytes back(cluster.size());
      ASSERT_TRUE(decompress(type, std::span(out).first(*size), back)) << bits;
      EXPECT_EQ(back, cluster);
    }
  }
}

TEST(Compress, DeflateStreamsReferBackByNoMoreThanTheirWindow) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Bytes cluster = text(64 << 10, seed);
    Bytes out(cluster.size());
    const auto size = compress(CompressionType::zlib, cluster, out);
    ASSERT_TRUE(size);
    ASSERT_GT(*size, 0U);
    EXPECT_EQ(inflate_with_small_window(std::span(out).first(*size)), cluster);
  }
}

TEST(Compress, WhatDoesNotGetSmallerIsLeftAlone) {
  const Bytes noise = test::random_bytes(64 << 10, 7);
  Bytes out(noise.size() - 1);
  for (const auto type : {CompressionType::zlib, CompressionType::zstd}) {
    EXPECT_EQ(compress(type, noise, out).value(), 0U);
    const Bytes zeroes(64 << 10);
    EXPECT_GT(compress(type, zeroes, out).value(), 0U);
    EXPECT_EQ(compress(type, zeroes, std::span(out).first(1)).value(), 0U);
  }
}

}  // namespace
}  // namespace platter::qcow2
