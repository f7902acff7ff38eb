#include "crypto/digest.h"

#include <map>

#include <gtest/gtest.h>

namespace platter {
namespace {

std::string digest_of(std::string_view algorithm, std::initializer_list<std::string_view> parts) {
  Result<Digest> digest = Digest::create(algorithm);
  EXPECT_TRUE(digest) << algorithm;
  for (const std::string_view part : parts) {
    EXPECT_TRUE(digest->update(std::as_bytes(std::span(part))));
  }
  return hex_text(digest->finish().value());
}

TEST(Digest, KnownOnesAreRight) {
  EXPECT_EQ(digest_of("md5", {"abc"}), "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_EQ(digest_of("sha1", {"abc"}), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(digest_of("sha256", {"abc"}),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest_of("sha256", {}),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Digest, PartsAddUp) {
  for (const std::string_view algorithm : Digest::algorithms()) {
    EXPECT_EQ(digest_of(algorithm, {"a", "", "bc"}), digest_of(algorithm, {"abc"})) << algorithm;
    EXPECT_NE(digest_of(algorithm, {"abd"}), digest_of(algorithm, {"abc"})) << algorithm;
  }
}

TEST(Digest, UnknownAlgorithmsAreRefused) {
  for (const std::string_view name : {"", "SHA256", "sha", "sha256-tree"}) {
    const Result<Digest> digest = Digest::create(name);
    ASSERT_FALSE(digest) << name;
    EXPECT_EQ(digest.error().kind(), ErrorKind::invalid_argument);
  }
}

}  // namespace
}  // namespace platter
