#include "crypto/sector_cipher.h"

#include <algorithm>
#include <numeric>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "crypto/digest.h"
#include "crypto/key_hash.h"

namespace platter {
namespace {

std::vector<std::byte> counting_bytes(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i);
  return bytes;
}

std::unique_ptr<SectorCipher> make_cipher(std::string_view name, std::string_view mode,
                                          std::size_t key_size, std::uint32_t sector_size = 512) {
  Result<CipherSpec> spec = parse_cipher_spec(name, mode, key_size);
  if (!spec) {
    ADD_FAILURE() << spec.error().message();
    return nullptr;
  }
  auto key = Secret::copy_of(counting_bytes(key_size));
  auto cipher = SectorCipher::create(*spec, *std::move(key), sector_size);
  if (!cipher) ADD_FAILURE() << cipher.error().message();
  return cipher ? *std::move(cipher) : nullptr;
}

std::string sha256(std::span<const std::byte> bytes) {
  Digest digest = Digest::create("sha256").value();
  EXPECT_TRUE(digest.update(bytes));
  return hex_text(digest.finish().value());
}

constexpr std::uint64_t kBeyond32Bits = (std::uint64_t{1} << 32) + 7;

struct Known {
  const char* name;
  const char* mode;
  std::size_t key_size;
  std::uint64_t number;
  std::uint32_t sector_size;
  const char* digest;  // of two sectors of bytes that count up, by another implementation
};
constexpr Known kKnown[] = {
    {"aes", "xts-plain64", 64, 5, 512,
     "4e144ca93fb42d1919633e4a19500756c0f147c2aa571ce17f7dc9da65dc3adc"},
    {"aes", "xts-plain64", 32, 16, 4096,
     "deacca9a4234dbaa56f3a55630e71aa3577317ae5896c593d746b03e56cd0af7"},
    {"aes", "cbc-essiv:sha256", 16, kBeyond32Bits, 512,
     "4b432cc982cff5e17981160164504ff538398bc7e66bd4398921371f6e3b9a78"},
    {"aes", "cbc-plain", 16, kBeyond32Bits, 512,
     "80b13455dbc3b98d1dc3e22c21519b5c4ea2e7897abed96bd1d5976e156950a0"},
    {"aes", "cbc-plain64", 16, kBeyond32Bits, 512,
     "fdceeeac781e9a6757b38fdefcacf0dd6d120e4caa057a45a3e45ba78d0bd050"},
    {"aes", "ctr-plain64", 32, kBeyond32Bits, 512,
     "6f79eac17c0d20cbab9079bbe6e082cd82d45e49a4c5b7d121d64186b2d3d0c7"},
    {"aes", "ecb", 24, 0, 512, "a8998d411f63c7b6cc31d55612b291a1dfa2a3d9cbb2d0078b3e0d3fb9ffce18"},
    {"cast5", "cbc-plain64", 16, kBeyond32Bits, 512,
     "e2cbd85b0074388b2bebedef868cf773510ffa50e7889919501d0e40bbce8070"},
};

TEST(SectorCipher, KnownOnesAreRight) {
  for (const Known& known : kKnown) {
    const auto cipher = make_cipher(known.name, known.mode, known.key_size, known.sector_size);
    ASSERT_TRUE(cipher);
    const auto plain = counting_bytes(std::size_t{2} * known.sector_size);
    std::vector<std::byte> coded(plain.size());
    ASSERT_TRUE(cipher->encrypt(known.number, plain, coded.data()));
    EXPECT_EQ(sha256(coded), known.digest) << known.name << " " << known.mode;
    ASSERT_TRUE(cipher->decrypt(known.number, coded, coded.data()));  // in place
    EXPECT_EQ(coded, plain);
  }
}

struct Offered {
  const char* name;
  const char* mode;
  std::size_t key_size;
};
constexpr Offered kOffered[] = {
    {"aes", "xts-plain64", 48},       {"serpent", "xts-plain64", 32},
    {"serpent", "xts-plain64", 48},   {"serpent", "xts-plain64", 64},
    {"serpent", "cbc-essiv:md5", 24}, {"twofish", "xts-plain", 64},
    {"twofish", "cbc-plain64", 16},   {"twofish", "ctr-plain64", 32},
    {"cast5", "cbc-essiv:md5", 16},   {"cast5", "ctr-plain64", 16},
    {"aes", "cbc-essiv:md5", 32},     {"serpent", "ecb-plain", 32},
    {"serpent", "ctr-plain64", 32},   {"twofish", "cbc-essiv:sha256", 32},
};

// In runs of any length, in place or not, each sector is what it would be alone.
TEST(SectorCipher, RunsAreTheirSectors) {
  constexpr std::size_t kSectors = 70;  // more than one batch of vectors
  for (const Offered& offered : kOffered) {
    const auto cipher = make_cipher(offered.name, offered.mode, offered.key_size);
    ASSERT_TRUE(cipher);
    const std::string name = std::string(offered.name) + "-" + offered.mode;
    const auto plain = counting_bytes(kSectors * 512);
    std::vector<std::byte> whole(plain.size());
    ASSERT_TRUE(cipher->encrypt(100, plain, whole.data()));
    std::vector<std::byte> single = plain;
    for (std::size_t i = 0; i < kSectors; ++i) {
      const auto sector = std::span(single).subspan(i * 512, 512);
      ASSERT_TRUE(cipher->encrypt(100 + i, sector, sector.data()));
    }
    EXPECT_EQ(whole, single) << name;
    EXPECT_NE(whole, plain) << name;
    const bool same =
        std::ranges::equal(std::span(whole).first(512), std::span(whole).subspan(512, 512));
    EXPECT_EQ(same, cipher->spec().mode == CipherMode::ecb) << name;
    std::vector<std::byte> back(plain.size());
    ASSERT_TRUE(cipher->decrypt(100, whole, back.data()));
    EXPECT_EQ(back, plain) << name;
  }
}

TEST(SectorCipher, ManyThreadsAtOnce) {
  const auto cipher = make_cipher("aes", "cbc-essiv:sha256", 32);
  const auto plain = counting_bytes(64 * 512);
  std::vector<std::byte> expected(plain.size());
  ASSERT_TRUE(cipher->encrypt(9, plain, expected.data()));
  std::vector<std::jthread> threads;
  std::vector<int> good(8);
  for (int& result : good) {
    threads.emplace_back([&] {
      result = 1;
      std::vector<std::byte> coded(plain.size());
      for (int round = 0; round < 20; ++round) {
        if (!cipher->encrypt(9, plain, coded.data()) || coded != expected) result = 0;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(std::accumulate(good.begin(), good.end(), 0), 8);
}

TEST(SectorCipher, WhatIsNotOfferedIsSaid) {
  const CipherSpec twofish192{.algorithm = CipherAlgorithm::twofish, .key_bits = 192};
  const auto none = SectorCipher::create(twofish192, Secret::make(48).value(), 512);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind(), ErrorKind::unsupported);
  const CipherSpec no_hash{.mode = CipherMode::cbc, .iv = IvGenerator::essiv, .iv_hash = "sha1"};
  EXPECT_EQ(SectorCipher::create(no_hash, Secret::make(32).value(), 512).error().kind(),
            ErrorKind::unsupported);
  const CipherSpec spec;
  EXPECT_EQ(SectorCipher::create(spec, Secret::make(32).value(), 512).error().kind(),
            ErrorKind::invalid_argument);
  EXPECT_EQ(SectorCipher::create(spec, Secret::make(64).value(), 1000).error().kind(),
            ErrorKind::invalid_argument);
}

TEST(CipherSpec, WordsAndSizesAreChecked) {
  const CipherSpec spec = parse_cipher_spec("aes", "xts-plain64", 64).value();
  EXPECT_EQ(spec, CipherSpec());
  EXPECT_EQ(spec.key_size(), 64U);
  EXPECT_EQ(parse_cipher_spec("aes", "cbc-essiv:sha256", 32)->mode_text(), "cbc-essiv:sha256");
  EXPECT_EQ(parse_cipher_spec("aes", "cbc", 32)->mode_text(), "cbc-plain");
  EXPECT_EQ(parse_cipher_spec("aes", "cbc-plain64:sha1", 32)->mode_text(), "cbc-plain64");
  EXPECT_EQ(parse_cipher_spec("aes", "ecb-plain", 32)->mode_text(), "ecb");
  const auto kind = [](std::string_view name, std::string_view mode, std::size_t size) {
    const auto parsed = parse_cipher_spec(name, mode, size);
    EXPECT_FALSE(parsed) << name << " " << mode << " " << size;
    return parsed ? ErrorKind::io : parsed.error().kind();
  };
  EXPECT_EQ(kind("des", "cbc-plain", 8), ErrorKind::unsupported);
  EXPECT_EQ(kind("aes", "lrw-benbi", 32), ErrorKind::unsupported);
  EXPECT_EQ(kind("aes", "cbc-benbi", 32), ErrorKind::unsupported);
  EXPECT_EQ(kind("aes", "", 32), ErrorKind::unsupported);
  EXPECT_EQ(kind("aes", "xts-plain64", 0), ErrorKind::invalid_argument);
  EXPECT_EQ(kind("aes", "xts-plain64", 33), ErrorKind::invalid_argument);
  EXPECT_EQ(kind("aes", "cbc-plain", 64), ErrorKind::invalid_argument);
  EXPECT_EQ(kind("aes", "cbc-essiv", 32), ErrorKind::invalid_argument);
  EXPECT_EQ(kind("cast5", "xts-plain64", 32), ErrorKind::invalid_argument);
  EXPECT_EQ(kind("cast5", "cbc-plain", 32), ErrorKind::invalid_argument);
  EXPECT_EQ(kind("aes", "cbc-plain", std::size_t{1} << 40), ErrorKind::invalid_argument);
}

// RFC 6070, and its like for SHA-256.
TEST(KeyHash, Pbkdf2IsTheStandards) {
  const auto derive = [](std::string_view hash, std::uint32_t iterations, std::size_t size) {
    std::vector<std::byte> into(size);
    EXPECT_TRUE(pbkdf2(hash, std::as_bytes(std::span("password", 8)),
                       std::as_bytes(std::span("salt", 4)), iterations, into));
    return hex_text(into);
  };
  EXPECT_EQ(derive("sha1", 4096, 20), "4b007901b765489abead49d926f721d065a429c1");
  EXPECT_EQ(derive("sha256", 4096, 32),
            "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a");
  std::vector<std::byte> into(20);
  EXPECT_EQ(pbkdf2("tiger", {}, {}, 1, into).error().kind(), ErrorKind::unsupported);
  EXPECT_EQ(key_hash_size("ripemd160"), 20U);
  ASSERT_TRUE(key_hash("ripemd160", std::as_bytes(std::span("abc", 3)), into));
  EXPECT_EQ(hex_text(into), "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc");
}

}  // namespace
}  // namespace platter
