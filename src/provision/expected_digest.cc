#include "src/provision/expected_digest.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace platter::provision {
namespace {

struct DigestLength {
  std::string_view algorithm;
  std::size_t digits;
};
constexpr std::array kLengths = {DigestLength{"sha256", 64}, DigestLength{"sha512", 128}};

std::unexpected<Error> bad_digest(std::string_view text) {
  return fail(ErrorKind::invalid_argument, "'" + std::string(text) +
                                               "' is not a digest: sha256: and 64 hexadecimal "
                                               "digits, or sha512: and 128");
}

}  // namespace

Result<ExpectedDigest> parse_expected_digest(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view algorithm = colon == text.npos ? "" : text.substr(0, colon);
  std::string hex(colon == text.npos ? text : text.substr(colon + 1));
  for (char& digit : hex) {
    if (digit >= 'A' && digit <= 'F') digit = static_cast<char>(digit - 'A' + 'a');
    if ((digit < '0' || digit > '9') && (digit < 'a' || digit > 'f')) return bad_digest(text);
  }
  const auto known = std::ranges::find(kLengths, hex.size(), &DigestLength::digits);
  if (known == kLengths.end()) return bad_digest(text);
  if (colon != text.npos && algorithm != known->algorithm) return bad_digest(text);
  return ExpectedDigest{std::string(known->algorithm), std::move(hex)};
}

}  // namespace platter::provision
