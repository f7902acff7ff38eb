// Where secrets come from when something asks for one by name.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "crypto/secret.h"
#include "io/error.h"

namespace platter {

/// Gives out secrets by their names. Outlives whoever was given it; called on the thread of the ring
/// that opens an image, so it must not block for long.
class SecretProvider {
 public:
  virtual ~SecretProvider() = default;
  SecretProvider() = default;
  SecretProvider(const SecretProvider&) = delete;
  SecretProvider& operator=(const SecretProvider&) = delete;

  /// A secret of its own for the caller. Errors: not_found, in QEMU's words; what the source says.
  virtual Result<Secret> get(std::string_view id) const = 0;
};

/// Secrets that were given before.
class SecretStore final : public SecretProvider {
 public:
  /// Puts it in place of one of that name.
  void put(std::string id, Secret secret) {
    secrets_.insert_or_assign(std::move(id), std::move(secret));
  }
  bool has(std::string_view id) const { return secrets_.contains(id); }

  Result<Secret> get(std::string_view id) const override {
    const auto found = secrets_.find(id);
    if (found != secrets_.end()) return Secret::copy_of(found->second.view());
    return fail(ErrorKind::not_found, "No secret with id '" + std::string(id) + "'");
  }

 private:
  std::map<std::string, Secret, std::less<>> secrets_;
};

}  // namespace platter
