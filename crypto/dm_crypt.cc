#include "crypto/dm_crypt.h"

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <libcryptsetup.h>

#include "crypto/crypt_context.h"
#include "crypto/crypt_header.h"
#include "crypto/device_name.h"
#include "crypto/dm_thread.h"
#include "io/bytes.h"

namespace platter {
namespace {

constexpr std::uint64_t kSector = 512;

// "aes-xts-plain64" as libcryptsetup takes it: "aes" and "xts-plain64".
struct Cipher {
  std::string name;
  std::string mode;
};

Result<Cipher> parse_cipher(const std::string& text) {
  const std::size_t hyphen = text.find('-');
  if (hyphen == 0 || hyphen == std::string::npos || hyphen + 1 == text.size()) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("Invalid cipher '{}': NAME-MODE is needed", text));
  }
  return Cipher{text.substr(0, hyphen), text.substr(hyphen + 1)};
}

Result<std::size_t> key_bytes(unsigned bits) {
  if (bits == 0 || bits % 8 != 0 || bits > 4096) {
    return fail(ErrorKind::invalid_argument, fmt::format("Invalid key size: {} bits", bits));
  }
  return bits / 8;
}

const char* text_of(KeyView key) { return reinterpret_cast<const char*>(key.data()); }

std::uint32_t activation_flags(const MappingOptions& options) {
  std::uint32_t flags = 0;
  if (options.read_only) flags |= CRYPT_ACTIVATE_READONLY;
  if (options.allow_discards) flags |= CRYPT_ACTIVATE_ALLOW_DISCARDS;
  return flags;
}

Result<void> open_plain_here(const std::string& device, const std::string& name,
                             const PlainParameters& wanted, KeyView key,
                             const MappingOptions& options) {
  const Result<Cipher> cipher = parse_cipher(wanted.cipher);
  if (!cipher) return fail(cipher.error().clone());
  const Result<std::size_t> size = key_bytes(wanted.key_bits);
  if (!size) return fail(size.error().clone());
  const bool verbatim = wanted.key == PlainKey::verbatim || wanted.hash == "plain";
  if (verbatim && key.size() < *size) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("The key has {} bytes where {} are needed", key.size(), *size));
  }
  CryptContext context;
  const std::string what = fmt::format("open '{}'", device);
  if (auto done = context.init(device, what); !done) return done;
  crypt_params_plain parameters{};
  parameters.hash = verbatim ? nullptr : wanted.hash.c_str();
  parameters.sector_size = wanted.sector_size;
  int result = crypt_format(context.get(), CRYPT_PLAIN, cipher->name.c_str(), cipher->mode.c_str(),
                            nullptr, nullptr, *size, &parameters);
  if (result < 0) return context.error(result, what);
  result = crypt_activate_by_passphrase(context.get(), name.c_str(), CRYPT_ANY_SLOT, text_of(key),
                                        verbatim ? *size : key.size(), activation_flags(options));
  if (result == -ENOENT || result == -ENODEV) {  // the device is there: it has been looked at
    return fail(ErrorKind::unsupported,
                fmt::format("Could not {}: this kernel has no cipher '{}'", what, wanted.cipher));
  }
  return result < 0 ? context.error(result, what) : Result<void>();
}

crypt_pbkdf_type pbkdf_of(const LuksParameters& wanted) {
  const bool luks1 = wanted.version == LuksVersion::luks1;
  crypt_pbkdf_type pbkdf{};
  pbkdf.type = !wanted.pbkdf.empty() ? wanted.pbkdf.c_str()
               : luks1               ? CRYPT_KDF_PBKDF2
                                     : CRYPT_KDF_ARGON2ID;
  const bool argon2 = std::strcmp(pbkdf.type, CRYPT_KDF_PBKDF2) != 0;
  pbkdf.hash = wanted.hash.c_str();
  pbkdf.time_ms = wanted.pbkdf_time_ms;
  if (argon2) {
    pbkdf.max_memory_kb = wanted.pbkdf_memory_kib != 0 ? wanted.pbkdf_memory_kib : 1U << 20;
    pbkdf.parallel_threads = 4;
  }
  if (wanted.pbkdf_iterations != 0) {
    pbkdf.iterations = wanted.pbkdf_iterations;
    pbkdf.flags = CRYPT_PBKDF_NO_BENCHMARK;
    pbkdf.time_ms = 0;
    if (argon2) pbkdf.parallel_threads = 1;
  }
  return pbkdf;
}

Result<void> format_luks_here(const std::string& device, const LuksParameters& wanted,
                              KeyView passphrase) {
  const Result<Cipher> cipher = parse_cipher(wanted.cipher);
  if (!cipher) return fail(cipher.error().clone());
  const Result<std::size_t> size = key_bytes(wanted.key_bits);
  if (!size) return fail(size.error().clone());
  const bool luks1 = wanted.version == LuksVersion::luks1;
  if (luks1 && wanted.sector_size != kSector) {
    return fail(ErrorKind::invalid_argument, "LUKS1 has sectors of 512 bytes alone");
  }
  CryptContext context;
  const std::string what = fmt::format("format '{}'", device);
  if (auto done = context.init(device, what); !done) return done;
  const crypt_pbkdf_type pbkdf = pbkdf_of(wanted);
  crypt_params_luks1 first{};
  first.hash = wanted.hash.c_str();
  crypt_params_luks2 second{};
  second.sector_size = wanted.sector_size;
  second.pbkdf = &pbkdf;
  int result = crypt_set_pbkdf_type(context.get(), &pbkdf);
  if (result >= 0) {
    void* const parameters = luks1 ? static_cast<void*>(&first) : &second;
    result = crypt_format(context.get(), luks1 ? CRYPT_LUKS1 : CRYPT_LUKS2, cipher->name.c_str(),
                          cipher->mode.c_str(), nullptr, nullptr, *size, parameters);
  }
  if (result >= 0) {
    result = crypt_keyslot_add_by_volume_key(context.get(), CRYPT_ANY_SLOT, nullptr, 0,
                                             text_of(passphrase), passphrase.size());
  }
  return result < 0 ? context.error(result, what) : Result<void>();
}

Result<void> open_luks_here(const std::string& device, const std::string& name, KeyView passphrase,
                            const MappingOptions& options, const KeyCostLimits& limits) {
  CryptContext context;
  const std::string what = fmt::format("open '{}'", device);
  if (auto done = context.init(device, what); !done) return done;
  if (auto loaded = load_luks(context, CRYPT_LUKS, what); !loaded) return loaded;
  if (auto checked = check_costs(context, limits, what); !checked) return checked;
  const int result =
      crypt_activate_by_passphrase(context.get(), name.c_str(), CRYPT_ANY_SLOT, text_of(passphrase),
                                   passphrase.size(), activation_flags(options));
  if (result == -EPERM) {
    return fail(ErrorKind::permission,
                fmt::format("Could not {}: no key slot has this passphrase", what));
  }
  return result < 0 ? context.error(result, what) : Result<void>();
}

Result<std::optional<MappingStatus>> status_here(const std::string& name) {
  CryptContext context;
  const std::string what = fmt::format("look at mapping '{}'", name);
  const int result = crypt_init_by_name(context.place(), name.c_str());
  if (result == -ENODEV || result == -ENOENT) return std::nullopt;
  if (result < 0) return fail(std::move(context.error(result, what).error()));
  context.listen();
  crypt_active_device active{};
  const int found = crypt_get_active_device(context.get(), name.c_str(), &active);
  const char* const type = crypt_get_type(context.get());
  if (found < 0 || type == nullptr) return std::nullopt;
  const auto text = [](const char* value) { return std::string(value != nullptr ? value : ""); };
  return MappingStatus{
      .type = type,
      .cipher =
          text(crypt_get_cipher(context.get())) + "-" + text(crypt_get_cipher_mode(context.get())),
      .key_bits = static_cast<unsigned>(crypt_get_volume_key_size(context.get())) * 8,
      .device = text(crypt_get_device_name(context.get())),
      .offset = active.offset * kSector,
      .size = active.size * kSector,
      .sector_size = static_cast<std::uint32_t>(crypt_get_sector_size(context.get())),
      .read_only = (active.flags & CRYPT_ACTIVATE_READONLY) != 0};
}

Result<void> resize_here(const std::string& name, std::optional<std::uint64_t> size,
                         std::optional<KeyView> passphrase) {
  CryptContext context;
  const std::string what = fmt::format("resize mapping '{}'", name);
  int result = crypt_init_by_name(context.place(), name.c_str());
  if (result < 0) return context.error(result, what);
  context.listen();
  if (passphrase) {  // into the keyring, where the mapping's table will look for it
    result =
        crypt_activate_by_passphrase(context.get(), nullptr, CRYPT_ANY_SLOT, text_of(*passphrase),
                                     passphrase->size(), CRYPT_ACTIVATE_KEYRING_KEY);
    if (result < 0) return context.error(result, what);
  }
  result = crypt_resize(context.get(), name.c_str(), size.value_or(0) / kSector);
  return result < 0 ? context.error(result, what) : Result<void>();
}

Result<void> close_here(const std::string& name, DmRemoval removal) {
  CryptContext context;
  const std::string what = fmt::format("close mapping '{}'", name);
  int result = crypt_init_by_name(context.place(), name.c_str());
  if (result == -ENODEV) {
    return fail(ErrorKind::not_found, fmt::format("Could not {}: there is none", what));
  }
  if (result < 0) return context.error(result, what);
  context.listen();
  // libcryptsetup itself tries for 5 seconds, unless the removal is deferred.
  const std::uint32_t flags = removal == DmRemoval::deferred ? CRYPT_DEACTIVATE_DEFERRED : 0;
  result = crypt_deactivate_by_name(context.get(), name.c_str(), flags);
  return result < 0 ? context.error(result, what) : Result<void>();
}

}  // namespace

Task<void> open_plain(std::string device, std::string name, PlainParameters parameters, KeyView key,
                      MappingOptions options) {
  co_await check_device_path(device);
  co_await check_mapping_name(name);
  co_await dm_require_target("crypt");
  auto work = [&] { return open_plain_here(device, name, parameters, key, options); };
  co_await co_await on_dm_thread(work);
}

Task<void> format_luks(std::string device, LuksParameters parameters, KeyView passphrase) {
  co_await check_device_path(device);
  auto work = [&] { return format_luks_here(device, parameters, passphrase); };
  co_await co_await on_dm_thread(work);
}

Task<void> open_luks(std::string device, std::string name, KeyView passphrase,
                     MappingOptions options, KeyCostLimits limits) {
  co_await check_device_path(device);
  co_await check_mapping_name(name);
  co_await dm_require_target("crypt");
  auto work = [&] { return open_luks_here(device, name, passphrase, options, limits); };
  co_await co_await on_dm_thread(work);
}

Task<std::optional<MappingStatus>> mapping_status(std::string name) {
  co_await check_mapping_name(name);
  auto work = [&] { return status_here(name); };
  co_return co_await on_dm_thread(work);
}

Task<void> resize_mapping(std::string name, std::optional<std::uint64_t> size,
                          std::optional<KeyView> passphrase) {
  co_await check_mapping_name(name);
  if (size && (*size == 0 || !is_aligned(*size, kSector))) {
    co_await fail(ErrorKind::invalid_argument, fmt::format("A mapping can't have {} bytes", *size));
  }
  auto work = [&] { return resize_here(name, size, passphrase); };
  co_await co_await on_dm_thread(work);
}

Task<void> close_mapping(std::string name, DmRemoval removal) {
  co_await check_mapping_name(name);
  // At once or not at all: what libcryptsetup does not offer.
  if (removal == DmRemoval::now) {
    const std::optional<DmDeviceInfo> device = co_await dm_info(name);
    if (device && device->open_count > 0) {
      co_await fail(ErrorKind::in_use,
                    fmt::format("Could not close mapping '{}': it is in use", name));
    }
  }
  auto work = [&] { return close_here(name, removal); };
  co_await co_await on_dm_thread(work);
}

}  // namespace platter
