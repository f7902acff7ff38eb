#include "crypto/luks2.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <libcryptsetup.h>
#include <nlohmann/json.hpp>

#include "crypto/crypt_context.h"
#include "crypto/crypt_header.h"
#include "crypto/dm_thread.h"
#include "io/bytes.h"

namespace platter {
namespace {

using nlohmann::json;

std::unexpected<Error> not_supported(const Luks2Place& place, std::string_view what) {
  return fail(
      ErrorKind::unsupported,
      fmt::format("'{}' is a LUKS2 image with {}, which is not supported", place.name, what));
}

Result<void> load(CryptContext& context, const Luks2Place& place) {
  const std::string what = fmt::format("open '{}'", place.name);
  if (auto done = context.init(place.path, what); !done) return done;
  return load_luks(context, CRYPT_LUKS2, what);
}

// The one segment of the payload: libcryptsetup's functions don't tell its size.
Result<std::optional<std::uint64_t>> payload_size(const CryptContext& context,
                                                  const Luks2Place& place) {
  const char* text = nullptr;
  const int result = crypt_dump_json(context.get(), &text, 0);
  if (result < 0) return context.error(result, "read the header of '" + place.name + "'");
  const json header = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const json segments = header.is_object() ? header.value("segments", json()) : json();
  if (!segments.is_object() || segments.size() != 1 ||
      segments.begin()->value("type", "") != "crypt") {
    return not_supported(place, "other than one encrypted segment");
  }
  const std::string size = segments.begin()->value("size", "");
  if (size == "dynamic") return std::nullopt;
  std::uint64_t bytes = 0;
  const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), bytes);
  if (error != std::errc() || end != size.data() + size.size()) {
    return not_supported(place, "a segment of unknown size");
  }
  return bytes;
}

Result<void> check_features(const CryptContext& context, const Luks2Place& place) {
  std::uint32_t requirements = 0;
  const int result =
      crypt_persistent_flags_get(context.get(), CRYPT_FLAGS_REQUIREMENTS, &requirements);
  if (result < 0) return context.error(result, "read the header of '" + place.name + "'");
  if (requirements != 0) return not_supported(place, "requirements (a re-encryption under way)");
  crypt_params_integrity integrity{};
  if (crypt_get_integrity_info(context.get(), &integrity) == 0 && integrity.tag_size != 0) {
    return not_supported(place, "integrity tags");
  }
  if (crypt_get_iv_offset(context.get()) != 0) return not_supported(place, "an offset of vectors");
  return {};
}

Result<std::vector<Luks2Slot>> slots_of(const CryptContext& context, const Luks2Place& place) {
  std::vector<Luks2Slot> slots;
  const int count = crypt_keyslot_max(CRYPT_LUKS2);
  for (int number = 0; number < count; ++number) {
    const crypt_keyslot_info state = crypt_keyslot_status(context.get(), number);
    if (state == CRYPT_SLOT_INACTIVE || state == CRYPT_SLOT_INVALID) continue;
    crypt_pbkdf_type pbkdf{};
    const int result = crypt_keyslot_get_pbkdf(context.get(), number, &pbkdf);
    if (result < 0) return context.error(result, "read the header of '" + place.name + "'");
    slots.push_back({.number = static_cast<unsigned>(number),
                     .pbkdf = pbkdf.type,
                     .iterations = pbkdf.iterations,
                     .memory_kib = pbkdf.max_memory_kb});
  }
  return slots;
}

Result<Luks2Header> read_here(const Luks2Place& place) {
  CryptContext context;
  if (auto done = load(context, place); !done) return fail(std::move(done.error()));
  if (auto good = check_features(context, place); !good) return fail(std::move(good.error()));
  auto size = payload_size(context, place);
  if (!size) return fail(std::move(size.error()));
  auto slots = slots_of(context, place);
  if (!slots) return fail(std::move(slots.error()));
  const auto text = [](const char* value) { return std::string(value != nullptr ? value : ""); };
  return Luks2Header{
      .uuid = text(crypt_get_uuid(context.get())),
      .cipher = text(crypt_get_cipher(context.get())),
      .mode = text(crypt_get_cipher_mode(context.get())),
      .key_size = static_cast<std::size_t>(crypt_get_volume_key_size(context.get())),
      .sector_size = static_cast<std::uint32_t>(crypt_get_sector_size(context.get())),
      .payload_offset = crypt_get_data_offset(context.get()) * kSectorSize,
      .payload_size = *size,
      .slots = *std::move(slots)};
}

Result<Secret> unlock_here(const Luks2Place& place, KeyView passphrase,
                           const KeyCostLimits& limits) {
  CryptContext context;
  if (auto done = load(context, place); !done) return fail(std::move(done.error()));
  const std::string what = fmt::format("open '{}'", place.name);
  if (auto good = check_costs(context, limits, what); !good) return fail(std::move(good.error()));
  std::size_t size = static_cast<std::size_t>(crypt_get_volume_key_size(context.get()));
  Result<Secret> key = Secret::make(size);
  if (!key) return key;
  const int result = crypt_volume_key_get(
      context.get(), CRYPT_ANY_SLOT, reinterpret_cast<char*>(key->writable().data()), &size,
      reinterpret_cast<const char*>(passphrase.data()), passphrase.size());
  // As QEMU has it for LUKS1.
  if (result == -EPERM || result == -ENOENT) {
    return fail(ErrorKind::permission, "Invalid password, cannot unlock any keyslot");
  }
  if (result < 0) return context.error(result, what);
  key->shrink(size);
  return key;
}

}  // namespace

Task<Luks2Header> read_luks2(Luks2Place place) {
  auto work = [&] { return read_here(place); };
  co_return co_await co_await on_dm_thread(work);
}

Task<Secret> unlock_luks2(Luks2Place place, KeyView passphrase, KeyCostLimits limits) {
  auto work = [&] { return unlock_here(place, passphrase, limits); };
  co_return co_await co_await on_dm_thread(work);
}

}  // namespace platter
