// Key slots of a LUKS1 image changed, as qemu-img amend does.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "formats/luks/luks1_keys.h"
#include "io/task.h"

namespace platter::luks {

struct LuksAmendOptions {
  /// True: a passphrase is put into a slot; false: slots are erased.
  bool activate = true;
  std::optional<std::uint64_t> slot;  ///< nothing: a free one; those that `old_secret` fits
  std::shared_ptr<const Secret> new_secret;
  std::shared_ptr<const Secret> old_secret;
  std::optional<std::uint32_t>
      time_ms;  ///< what a guess at the passphrase is to cost; nothing: 2 s
  /// Erase what was the last slot; overwrite one that is in use.
  bool force = false;
  KeyCostLimits limits{};
};

/// What can't be done is refused before anything is changed. `key` is the master key. Errors:
/// invalid_argument, in QEMU's words; those of the file.
Task<void> amend_luks1(HeaderPlace place, Luks1Header& header, const Secret& key,
                       LuksAmendOptions options);

}  // namespace platter::luks
