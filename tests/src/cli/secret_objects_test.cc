#include "src/cli/secret_objects.h"

#include <span>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace platter::cli {
namespace {

constexpr std::string_view kKey =
    "secret,id=k,format=base64,data=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
constexpr std::string_view kZeroIv = "AAAAAAAAAAAAAAAAAAAAAA==";

Result<std::unique_ptr<SecretStore>> store_of(const std::string& rest) {
  const Objects objects =
      make_objects({std::string(kKey), fmt::format("secret,id=a,keyid=k,{}", rest)}).value();
  return make_secret_store(objects);
}

std::string error(const std::string& rest) {
  const auto store = store_of(rest);
  return store ? "" : store.error().message();
}

// "abc", encrypted by `openssl enc -aes-256-cbc` with a key and a vector of zeroes.
TEST(SecretObjects, AnEncryptedSecretIsDecrypted) {
  const auto store =
      store_of(fmt::format("iv={},data=k3nBefZLfyFTjUOuYwSDjg==,format=base64", kZeroIv));
  ASSERT_TRUE(store) << store.error().message();
  EXPECT_TRUE((*store)->get("a").value().equals(std::as_bytes(std::span("abc", 3))));
  EXPECT_EQ((*store)->get("k").value().size(), 32U);
  EXPECT_EQ((*store)->get("b").error().message(), "No secret with id 'b'");
}

TEST(SecretObjects, WhatCantBeDecryptedIsToldInQemusWords) {
  EXPECT_EQ(error("iv=AAAA,format=base64,data=k3nBefZLfyFTjUOuYwSDjg=="),
            "IV should be 16 bytes in length not 3");
  EXPECT_EQ(error("iv=*,data=x"), "Base64 data contains invalid characters");
  EXPECT_EQ(error(fmt::format("iv={},data=aGk=,format=base64", kZeroIv)),
            "Length 2 must be a multiple of block size 16");
  EXPECT_EQ(error(fmt::format("iv={},data={},format=base64", kZeroIv, kZeroIv)),
            "Incorrect number of padding bytes (180) found on decrypted data");
}

}  // namespace
}  // namespace platter::cli
