// What opening an image may lead to. Nothing is opened because an image says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "crypto/key_cost.h"
#include "io/path_lookup.h"

namespace platter {

class SecretProvider;

/// The library's default trusts nothing: the named file alone, at most 64 MiB of memory. Tools
/// widen it for names that their user typed.
struct OpenPolicy {
  /// Formats that may be opened, by name; empty: every one that this build knows.
  std::vector<std::string> formats;
  /// Whether a backing file or an external data file that an image names may be opened.
  bool follow_references = false;
  /// Where followed references must lie (after resolving links); empty: anywhere.
  std::vector<std::string> reference_folders;
  /// How names of files are looked up, the first one and those that images refer to.
  PathLookup lookup = nullptr;
  /// Images in one backing chain, the first included.
  std::size_t chain_length_max = 64;
  /// Bytes of metadata that one image may hold in memory.
  std::uint64_t memory_max = std::uint64_t{64} << 20;
  /// Where the secrets come from that encrypted images are named with. Outlives whoever has the policy.
  const SecretProvider* secrets = nullptr;
  /// How much work a header may ask for to try a passphrase.
  KeyCostLimits key_costs{};

  bool allows_format(const std::string& format) const;
};

}  // namespace platter
