// --object: secrets, for images that need one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "crypto/secret_source.h"
#include "io/error.h"
#include "src/cli/arguments.h"

namespace platter::cli {

inline constexpr Option kObjectOption[] = {
    {0, "object", "OBJECT", "a secret: secret,id=NAME,file=FILE, data=TEXT, format=raw or base64"},
};

struct Objects {
  std::unique_ptr<SecretStore> secrets;  ///< decoded, and decrypted; never null
  std::vector<std::string> warnings;     ///< lines for people
};

/// The objects of "type,id=...,name=value,..." or JSON, one after the other. Files are read at once, 1 MiB at
/// most; a secret that is encrypted is decrypted with the one before it that it names. Errors: invalid_argument,
/// unsupported (other types), those of the file; in qemu-img's words.
Result<Objects> make_objects(const std::vector<std::string>& definitions);

}  // namespace platter::cli
