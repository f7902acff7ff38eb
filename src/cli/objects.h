// --object: secrets, for images that need one.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "io/error.h"
#include "src/cli/arguments.h"

namespace platter::cli {

inline constexpr Option kObjectOption[] = {
    {0, "object", "OBJECT", "a secret: secret,id=NAME,file=FILE, data=TEXT, format=raw or base64"},
};

/// A secret as it was given, checked but not used yet. The memory is wiped at the end.
class SecretObject {
 public:
  std::string id;
  std::vector<std::byte> data;       ///< decoded; still encrypted where there is a key
  std::optional<std::string> keyid;  ///< the secret that `data` is encrypted with (AES-256-CBC)
  std::optional<std::string> iv;     ///< base64

  SecretObject() = default;
  SecretObject(SecretObject&&) = default;
  SecretObject& operator=(SecretObject&&) = default;
  SecretObject(const SecretObject&) = delete;
  SecretObject& operator=(const SecretObject&) = delete;
  ~SecretObject();
};

struct Objects {
  std::vector<SecretObject> secrets;
  std::vector<std::string> warnings;  ///< lines for people
};

/// The objects of "type,id=...,name=value,..." or JSON, one after the other. Files are read at once, 1 MiB at
/// most. Errors: invalid_argument, unsupported (other types), those of the file; in qemu-img's words.
Result<Objects> make_objects(const std::vector<std::string>& definitions);

}  // namespace platter::cli
