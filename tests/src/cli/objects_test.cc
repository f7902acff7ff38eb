#include "src/cli/objects.h"

#include <string>
#include <string_view>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace platter::cli {
namespace {

std::string data_of(const Objects& objects, std::string_view id) {
  const Secret secret = objects.secrets->get(id).value();
  return {reinterpret_cast<const char*>(secret.view().data()), secret.size()};
}
std::string error(const std::vector<std::string>& definitions) {
  const Result<Objects> objects = make_objects(definitions);
  EXPECT_FALSE(objects);
  return objects ? "" : objects.error().message();
}

TEST(Objects, ASecretIsKeptAsItIsMeant) {
  const Result<Objects> objects =
      make_objects({"secret,id=a,data=x,,y",
                    R"({"qom-type":"secret","id":"b","data":"aGk=","format":"base64"})"});
  ASSERT_TRUE(objects) << objects.error().message();
  EXPECT_EQ(data_of(*objects, "a"), "x,y");
  EXPECT_EQ(data_of(*objects, "b"), "hi");
  EXPECT_EQ(objects->secrets->get("c").error().message(), "No secret with id 'c'");
}

TEST(Objects, ASecretOnTheCommandLineIsWarnedAbout) {
  const Result<Objects> objects = make_objects({"secret,id=a,data=x"});
  ASSERT_TRUE(objects);
  ASSERT_EQ(objects->warnings.size(), 1U);
  EXPECT_EQ(objects->warnings[0].find("x"), std::string::npos) << "the secret itself is not told";
}

// "abc" and keys, encrypted by `openssl enc -aes-256-cbc` with a vector of zeroes.
constexpr std::string_view kZeroKey =
    "secret,id=k,format=base64,data=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
constexpr std::string_view kZeroIv = "AAAAAAAAAAAAAAAAAAAAAA==";

std::string encrypted(std::string_view id, std::string_view key, std::string_view base64) {
  return fmt::format("secret,id={},keyid={},iv={},format=base64,data={}", id, key, kZeroIv, base64);
}

TEST(Objects, AnEncryptedSecretIsDecrypted) {
  const std::string key(kZeroKey);
  const Result<Objects> objects =
      make_objects({key, encrypted("a", "k", "k3nBefZLfyFTjUOuYwSDjg==")});
  ASSERT_TRUE(objects) << objects.error().message();
  EXPECT_EQ(data_of(*objects, "a"), "abc");
  EXPECT_EQ(error({key, "secret,id=a,keyid=k,data=aGk="}), "IV is required to decrypt secret");
  EXPECT_EQ(error({"secret,id=a,keyid=k,iv=AAAA,data=aGk="}), "No secret with id 'k'");
  EXPECT_EQ(error({"secret,id=k,data=short", "secret,id=a,keyid=k,iv=AAAA,data=aGk="}),
            "Key should be 32 bytes in length");
}

TEST(Objects, AKeyMayBeEncryptedItselfAndIsMeasuredDecrypted) {
  const std::string key(kZeroKey);
  const std::string secret = encrypted("b", "x", "S7M3kvyxLPDUZ/AwEFSEjg==");
  const Result<Objects> objects = make_objects(
      {key, encrypted("x", "k", "iOqWeEbyOIXA1PHXCmw7PA1a60sSTqEImIUN1i6j6dLroJcnXiaeNAEAkKeIP5Mr"),
       secret});
  ASSERT_TRUE(objects) << objects.error().message();
  EXPECT_EQ(data_of(*objects, "b"), "abc");
  // 32 bytes as they come, 16 of which are padding.
  EXPECT_EQ(
      error({key, encrypted("x", "k", "iOqWeEbyOIXA1PHXCmw7PCbIIbcA8X2+eeUxyGbjgZc="), secret}),
      "Key should be 32 bytes in length");
}

TEST(Objects, WhatCantBeDecryptedIsToldInQemusWords) {
  const std::string key(kZeroKey);
  EXPECT_EQ(error({key, "secret,id=a,keyid=k,iv=AAAA,format=base64,data=k3nBefZLfyFTjUOuYwSDjg=="}),
            "IV should be 16 bytes in length not 3");
  EXPECT_EQ(error({key, "secret,id=a,keyid=k,iv=*,data=x"}),
            "Base64 data contains invalid characters");
  EXPECT_EQ(error({key, encrypted("a", "k", "aGk=")}),
            "Length 2 must be a multiple of block size 16");
  EXPECT_EQ(error({key, encrypted("a", "k", kZeroIv)}),
            "Incorrect number of padding bytes (180) found on decrypted data");
}

TEST(Objects, OtherTypesAreRefused) {
  EXPECT_EQ(error({"iothread,id=a"}), "invalid object type: iothread");
  EXPECT_EQ(error({"nosuch,id=a"}), "Parameter 'qom-type' does not accept value 'nosuch'");
}

TEST(Objects, AFileThatNeverEndsIsRefused) {
  EXPECT_EQ(error({"secret,id=a,file=/dev/zero"}),
            "Unable to read /dev/zero: more than 1048576 bytes");
}

}  // namespace
}  // namespace platter::cli
