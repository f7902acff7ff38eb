#include "src/cli/objects.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "crypto/key_file.h"
#include "formats/json_reader.h"
#include "formats/option_value.h"
#include "io/bytes.h"
#include "io/unique_fd.h"
#include "src/cli/secret_coding.h"

namespace platter::cli {
namespace {

constexpr std::size_t kFileMax = 1 * kMiB;

// Types that QEMU has objects of, and platter has no use for.
constexpr std::array<std::string_view, 43> kOtherTypes = {
    "authz-list",
    "authz-list-file",
    "authz-pam",
    "authz-simple",
    "can-bus",
    "can-host-socketcan",
    "colo-compare",
    "cryptodev-backend",
    "cryptodev-backend-builtin",
    "cryptodev-backend-lkcf",
    "cryptodev-vhost-user",
    "dbus-vmstate",
    "filter-buffer",
    "filter-dump",
    "filter-mirror",
    "filter-redirector",
    "filter-replay",
    "filter-rewriter",
    "input-barrier",
    "input-linux",
    "iothread",
    "main-loop",
    "memory-backend-epc",
    "memory-backend-file",
    "memory-backend-memfd",
    "memory-backend-ram",
    "pef-guest",
    "pr-manager-helper",
    "qtest",
    "rng-builtin",
    "rng-egd",
    "rng-random",
    "s390-pv-guest",
    "secret_keyring",
    "sev-guest",
    "throttle-group",
    "tls-cipher-suites",
    "tls-creds-anon",
    "tls-creds-psk",
    "tls-creds-x509",
    "thread-context",
    "x-remote-object",
    "x-vfio-user-server",
};

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

// "type,name=value,...", where ",," is a comma.
Result<BlockOptions> read_pairs(std::string_view text) {
  BlockOptions pairs;
  for (bool first = true; !text.empty(); first = false) {
    const std::size_t end = std::min(text.find_first_of("=,"), text.size());
    const std::string name(text.substr(0, end));
    const bool has_value = end < text.size() && text[end] == '=';
    text.remove_prefix(std::min(end + 1, text.size()));
    if (has_value && !name.empty()) {
      pairs.set(name, {.text = take_option_value(text)});
    } else if (name.empty()) {
      return wrong("Invalid parameter ''");
    } else if (first) {
      pairs.set("qom-type", {.text = name});
    } else {
      return wrong(fmt::format("Expected '=' after parameter '{}'", name));
    }
  }
  return pairs;
}

Result<BlockOptions> read_definition(const std::string& text) {
  if (!text.starts_with('{')) return read_pairs(text);
  const Result<JsonValue> json = read_json(text);
  if (!json) return fail(json.error().clone());
  BlockOptions pairs;
  for (const JsonMember& member : json->members) pairs.set(member.name, member.value.scalar);
  return pairs;
}

Result<std::optional<std::string>> take_string(BlockOptions& pairs, std::string_view name) {
  const std::optional<OptionValue> value = pairs.take(name);
  if (!value) return std::nullopt;
  if (value->kind == OptionValue::Kind::text) return value->text;
  return wrong(fmt::format("Invalid parameter type for '{}', expected: string", name));
}

Result<Secret> read_file(const std::string& name) {
  const UniqueFd fd(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    return fail(kind_of_errno(errno), fmt::format("Unable to read {}: Failed to open file "
                                                  "\u201c{}\u201d: {}",
                                                  name, name, errno_text(errno)));
  }
  Result<Secret> secret = read_secret(fd.get(), name, kFileMax);
  if (secret || secret.error().kind() != ErrorKind::too_large) return secret;
  return fail(ErrorKind::too_large,
              fmt::format("Unable to read {}: more than {} bytes", name, kFileMax));
}

// What a definition says of a secret, in QEMU's types.
struct SecretWords {
  std::string id;
  std::optional<std::string> data, file, keyid, iv;
  bool base64 = false;
};

Result<SecretWords> take_words(BlockOptions& pairs) {
  SecretWords words;
  const auto id = take_string(pairs, "id");
  if (!id) return fail(id.error().clone());
  if (!*id) return wrong("Parameter 'id' is missing");
  words.id = **id;
  struct Field {
    std::string_view name;
    std::optional<std::string>& value;
  };
  std::optional<std::string> format;
  for (const Field& field :
       {Field{"data", words.data}, Field{"file", words.file}, Field{"format", format},
        Field{"keyid", words.keyid}, Field{"iv", words.iv}}) {
    const auto value = take_string(pairs, field.name);
    if (!value) return fail(value.error().clone());
    field.value = *value;
  }
  if (format && *format != "raw" && *format != "base64") {
    return wrong(fmt::format("Parameter 'format' does not accept value '{}'", *format));
  }
  words.base64 = format == "base64";
  if (pairs.has("loaded")) return wrong("Property 'secret.loaded' is not writable");
  if (!pairs.empty()) {
    return wrong(fmt::format("Parameter '{}' is unexpected", pairs.all().front().first));
  }
  return words;
}

Result<void> check_words(const SecretWords& words, const SecretStore& others) {
  if (Result<void> good = check_identifier(words.id, "id"); !good) return good;
  if (others.has(words.id)) {
    return wrong(fmt::format("attempt to add duplicate property '{}' to object (type 'container')",
                             words.id));
  }
  if (words.data && words.file) return wrong("'file' and 'data' are mutually exclusive");
  if (!words.data && !words.file) return wrong("Either 'file' or 'data' must be provided");
  return {};
}

// With the key that an earlier definition gave.
Result<Secret> decrypt_with(const SecretWords& words, const Secret& coded,
                            const SecretStore& others) {
  const Result<Secret> key = others.get(*words.keyid);
  if (!key) return fail(key.error().clone());
  if (key->size() != kSecretKeySize) {
    return wrong(fmt::format("Key should be {} bytes in length", kSecretKeySize));
  }
  if (!words.iv) return wrong("IV is required to decrypt secret");
  return decrypt_secret({.bytes = coded.view(),
                         .base64 = words.base64,
                         .iv_base64 = std::as_bytes(std::span(*words.iv))},
                        *key);
}

Result<Secret> make_secret(const SecretWords& words, const SecretStore& others) {
  Result<Secret> given =
      words.file ? read_file(*words.file) : Secret::copy_of(std::as_bytes(std::span(*words.data)));
  if (!given) return given;
  if (words.keyid) return decrypt_with(words, *given, others);
  return words.base64 ? decode_base64(given->view()) : std::move(given);
}

Result<void> add_secret(BlockOptions pairs, Objects& objects) {
  const Result<SecretWords> words = take_words(pairs);
  if (!words) return fail(words.error().clone());
  if (auto good = check_words(*words, *objects.secrets); !good) return good;
  Result<Secret> secret = make_secret(*words, *objects.secrets);
  if (!secret) return fail(std::move(secret.error()));
  objects.secrets->put(words->id, *std::move(secret));
  if (words->data && !words->keyid) {
    objects.warnings.push_back(fmt::format(
        "secret '{}': data= shows to everyone who can list processes; file= does not", words->id));
  }
  return {};
}

}  // namespace

Result<Objects> make_objects(const std::vector<std::string>& definitions) {
  Objects objects{.secrets = std::make_unique<SecretStore>(), .warnings = {}};
  for (const std::string& definition : definitions) {
    Result<BlockOptions> pairs = read_definition(definition);
    if (!pairs) return fail(std::move(pairs.error()));
    const auto type = take_string(*pairs, "qom-type");
    if (!type) return fail(type.error().clone());
    if (!*type) return wrong("Parameter 'qom-type' is missing");
    if (std::ranges::find(kOtherTypes, **type) != kOtherTypes.end()) {
      return fail(ErrorKind::unsupported, "invalid object type: " + **type);
    }
    if (**type != "secret") {
      return wrong(fmt::format("Parameter 'qom-type' does not accept value '{}'", **type));
    }
    if (auto added = add_secret(*std::move(pairs), objects); !added) {
      return fail(std::move(added.error()));
    }
  }
  return objects;
}

}  // namespace platter::cli
