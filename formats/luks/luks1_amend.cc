#include "formats/luks/luks1_amend.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace platter::luks {
namespace {

constexpr std::uint32_t kTimeMs = 2000;

std::unexpected<Error> refuse(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

Result<void> check_slot_number(const LuksAmendOptions& options) {
  if (!options.slot || *options.slot < kSlots) return {};
  return refuse(fmt::format("Invalid keyslot {} specified, must be between 0 and {}", *options.slot,
                            kSlots - 1));
}

Result<unsigned> slot_to_fill(const Luks1Header& header, const LuksAmendOptions& options) {
  if (!options.new_secret) return refuse("'new-secret' is required to activate a keyslot");
  if (options.old_secret) {
    return refuse("'old-secret' must not be given when activating keyslots");
  }
  if (auto good = check_slot_number(options); !good) return fail(std::move(good.error()));
  if (options.slot) {
    const auto slot = static_cast<unsigned>(*options.slot);
    if (!header.is_active(slot) || options.force) return slot;
    return refuse(
        fmt::format("Refusing to overwrite active keyslot {} - please erase it first", slot));
  }
  for (unsigned slot = 0; slot < kSlots; ++slot) {
    if (!header.is_active(slot)) return slot;
  }
  return refuse("Can't add a keyslot - all keyslots are in use");
}

Task<bool> fits(HeaderPlace place, const Luks1Header& header, unsigned slot,
                const LuksAmendOptions& options) {
  if (!header.is_active(slot)) co_return false;
  const std::optional<Secret> key =
      co_await unlock_slot(place, header, slot, options.old_secret->view(), options.limits);
  co_return key.has_value();
}

Task<unsigned> named_slot_to_erase(HeaderPlace place, const Luks1Header& header,
                                   const LuksAmendOptions& options) {
  co_await check_slot_number(options);
  const auto slot = static_cast<unsigned>(*options.slot);
  if (options.old_secret) {
    const bool matches = co_await fits(place, header, slot, options);
    if (!matches) {
      co_return refuse(fmt::format(
          "Given keyslot {} doesn't contain the given old password for erase operation", slot));
    }
  }
  if (!options.force && !header.is_active(slot)) {
    co_return refuse(fmt::format("Given keyslot {} is already erased (inactive) ", slot));
  }
  if (!options.force && header.active_slots() == 1) {
    co_return refuse(
        fmt::format("Attempt to erase the only active keyslot {} which will erase all the data in "
                    "the image irreversibly - refusing operation",
                    slot));
  }
  co_return slot;
}

Task<std::vector<unsigned>> slots_to_erase(HeaderPlace place, const Luks1Header& header,
                                           const LuksAmendOptions& options) {
  if (options.new_secret) {
    co_return refuse("'new-secret' must not be given when erasing keyslots");
  }
  if (options.time_ms) co_return refuse("'iter-time' must not be given when erasing keyslots");
  std::vector<unsigned> slots;
  if (options.slot) {
    slots.push_back(co_await named_slot_to_erase(place, header, options));
    co_return slots;
  }
  if (!options.old_secret) {
    co_return refuse(
        "To erase keyslot(s), either explicit keyslot index or the password currently contained in "
        "them must be given");
  }
  for (unsigned slot = 0; slot < kSlots; ++slot) {
    const bool matches = co_await fits(place, header, slot, options);
    if (matches) slots.push_back(slot);
  }
  if (slots.empty()) {
    co_return refuse("No keyslots match given (old) password for erase operation");
  }
  if (!options.force && slots.size() == header.active_slots()) {
    co_return refuse(
        "All the active keyslots match the (old) password that was given and erasing them will "
        "erase all the data in the image irreversibly - refusing operation");
  }
  co_return slots;
}

}  // namespace

Task<void> amend_luks1(HeaderPlace place, Luks1Header& header, const Secret& key,
                       LuksAmendOptions options) {
  if (options.activate) {
    const unsigned slot = co_await slot_to_fill(header, options);
    const std::uint32_t iterations =
        co_await slot_iterations(header, options.time_ms.value_or(kTimeMs));
    co_await fill_slot(place, header, slot, key, options.new_secret->view(), iterations);
    co_return;
  }
  const std::vector<unsigned> slots = co_await slots_to_erase(place, header, options);
  for (const unsigned slot : slots) co_await erase_slot(place, header, slot);
}

}  // namespace platter::luks
