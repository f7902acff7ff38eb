// The secrets of --object, ready for the images that are named with them.
#pragma once

#include <memory>

#include "crypto/secret_source.h"
#include "io/error.h"
#include "src/cli/objects.h"

namespace platter::cli {

/// By their ids; those that are encrypted are decrypted with the secret that they name. Errors:
/// invalid_argument (the vector, the length, the padding), out_of_memory; in qemu-img's words.
Result<std::unique_ptr<SecretStore>> make_secret_store(const Objects& objects);

}  // namespace platter::cli
