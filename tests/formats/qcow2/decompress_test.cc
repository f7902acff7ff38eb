#include "formats/qcow2/decompress.h"

#include <zlib.h>
#include <zstd.h>

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/random_ops.h"

namespace platter::qcow2 {
namespace {

using Bytes = std::vector<std::byte>;
constexpr std::size_t kSize = 65536;

Bytes cluster_bytes() {
  Bytes bytes = test::random_bytes(kSize, 1);
  for (std::size_t i = 0; i < kSize / 2; ++i) bytes[i] = static_cast<std::byte>(i / 100);
  return bytes;
}

Bytes append(Bytes bytes, const Bytes& more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
  return bytes;
}

// Raw deflate; Z_SYNC_FLUSH leaves the end mark out.
Bytes deflated(Bytes data, int flush, int window_bits = -15) {
  z_stream stream{};
  EXPECT_EQ(::deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY), Z_OK);
  Bytes out(data.size() + 4096);
  stream.next_in = reinterpret_cast<Bytef*>(data.data());
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  ::deflate(&stream, flush);
  out.resize(out.size() - stream.avail_out);
  ::deflateEnd(&stream);
  return out;
}

Bytes zstd_frame(const Bytes& data) {
  Bytes out(ZSTD_compressBound(data.size()));
  const std::size_t size = ZSTD_compress(out.data(), out.size(), data.data(), data.size(), 3);
  EXPECT_EQ(ZSTD_isError(size), 0U);
  out.resize(size);
  return out;
}

// What is read, or why it can't be.
std::string outcome(CompressionType type, const Bytes& compressed) {
  const Bytes wanted = cluster_bytes();
  Bytes cluster(kSize + 64, std::byte{0xa5});
  const Result<void> done = decompress(type, compressed, std::span(cluster).first(kSize));
  for (std::size_t i = kSize; i < cluster.size(); ++i) {
    EXPECT_EQ(cluster[i], std::byte{0xa5}) << "written past the cluster";
  }
  if (!done) {
    EXPECT_EQ(done.error().kind(), ErrorKind::corrupt_image);
    return done.error().message();
  }
  return std::equal(wanted.begin(), wanted.end(), cluster.begin()) ? "good" : "other bytes";
}

TEST(Qcow2Decompress, DeflateIsReadWithWhateverFollows) {
  for (const int window_bits : {-12, -15}) {
    const Bytes stream = deflated(cluster_bytes(), Z_FINISH, window_bits);
    EXPECT_EQ(outcome(CompressionType::zlib, stream), "good");
    EXPECT_EQ(outcome(CompressionType::zlib, append(stream, Bytes(511))), "good");
    EXPECT_EQ(outcome(CompressionType::zlib, append(stream, test::random_bytes(511, 1))), "good");
  }
}

TEST(Qcow2Decompress, AStreamWithoutItsEndMarkIsTaken) {
  EXPECT_EQ(outcome(CompressionType::zlib, deflated(cluster_bytes(), Z_SYNC_FLUSH)), "good");
}

TEST(Qcow2Decompress, AStreamThatGoesOnIsTaken) {
  const Bytes longer = append(cluster_bytes(), test::random_bytes(5000, 2));
  EXPECT_EQ(outcome(CompressionType::zlib, deflated(longer, Z_FINISH)), "good");
}

TEST(Qcow2Decompress, AStreamThatEndsTooEarlyIsRefused) {
  Bytes shorter = cluster_bytes();
  shorter.pop_back();
  EXPECT_NE(outcome(CompressionType::zlib, deflated(shorter, Z_FINISH)).find("too early"),
            std::string::npos);
  Bytes cut = deflated(cluster_bytes(), Z_FINISH);
  cut.resize(cut.size() / 2);
  EXPECT_NE(outcome(CompressionType::zlib, cut).find("too early"), std::string::npos);
  EXPECT_NE(outcome(CompressionType::zlib, {}).find("too early"), std::string::npos);
}

TEST(Qcow2Decompress, FramesOfZstdMustEndWithTheCluster) {
  const Bytes cluster = cluster_bytes();
  const Bytes whole = zstd_frame(cluster);
  EXPECT_EQ(outcome(CompressionType::zstd, whole), "good");
  EXPECT_EQ(outcome(CompressionType::zstd, append(whole, test::random_bytes(300, 3))), "good");
  const Bytes first(cluster.begin(), cluster.begin() + 1000);
  const Bytes rest(cluster.begin() + 1000, cluster.end());
  EXPECT_EQ(outcome(CompressionType::zstd, append(zstd_frame(first), zstd_frame(rest))), "good");

  EXPECT_NE(outcome(CompressionType::zstd, zstd_frame(first)), "good") << "it ends too early";
  const Bytes longer = append(cluster, Bytes(1));
  EXPECT_NE(outcome(CompressionType::zstd, zstd_frame(longer)), "good");
  Bytes cut = whole;
  cut.pop_back();
  EXPECT_NE(outcome(CompressionType::zstd, cut), "good");
  EXPECT_NE(outcome(CompressionType::zstd, {}), "good");
}

TEST(Qcow2Decompress, BrokenStreamsAreReadOrRefusedButNeverPastTheCluster) {
  std::mt19937_64 random(test::test_seed());
  for (const CompressionType type : {CompressionType::zlib, CompressionType::zstd}) {
    const bool zlib = type == CompressionType::zlib;
    const Bytes good = zlib ? deflated(cluster_bytes(), Z_FINISH) : zstd_frame(cluster_bytes());
    for (int n = 0; n < 300; ++n) {
      Bytes broken = good;
      for (int change = 0; change < 3; ++change) {
        broken[random() % (n % 2 == 0 ? broken.size() : 200)] = static_cast<std::byte>(random());
      }
      (void)outcome(type, broken);
    }
    (void)outcome(type, test::random_bytes(4096, random()));
  }
}

}  // namespace
}  // namespace platter::qcow2
