#include "src/provision/expected_digest.h"

#include <gtest/gtest.h>

namespace platter::provision {
namespace {

TEST(ExpectedDigest, AlgorithmComesFromItsNameOrTheCount) {
  const std::string digits(64, 'a');
  EXPECT_EQ(parse_expected_digest("sha256:" + digits)->algorithm, "sha256");
  EXPECT_EQ(parse_expected_digest(digits)->hex, digits);
  EXPECT_EQ(parse_expected_digest("sha512:" + digits + digits)->algorithm, "sha512");
  EXPECT_EQ(parse_expected_digest(digits + digits)->algorithm, "sha512");
  EXPECT_EQ(parse_expected_digest(std::string(64, 'F'))->hex, std::string(64, 'f'));
}

TEST(ExpectedDigest, AnythingElseIsRefused) {
  const std::string digits(64, '0');
  for (const std::string& text : {std::string(), std::string("sha256:"), "sha512:" + digits,
                                  "md5:" + std::string(32, '0'), digits + "0", std::string(64, 'g'),
                                  ":" + digits, "sha256:" + digits + ":", "sha256: " + digits}) {
    const auto parsed = parse_expected_digest(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().kind(), ErrorKind::invalid_argument);
    EXPECT_NE(parsed.error().message().find("'" + text + "'"), std::string::npos);
  }
}

}  // namespace
}  // namespace platter::provision
