// The digest that whoever names a template says it has.
#pragma once

#include <string>
#include <string_view>

#include "io/error.h"

namespace platter::provision {

/// Of the template's bytes as they come, before any conversion.
struct ExpectedDigest {
  std::string algorithm;  ///< see Digest::algorithms(); "sha256" and "sha512" can be parsed
  std::string hex;        ///< lower case, as many digits as the algorithm has
};

/// "sha256:HEX" or "sha512:HEX"; digits alone: by their count. Errors: invalid_argument.
Result<ExpectedDigest> parse_expected_digest(std::string_view text);

}  // namespace platter::provision
