#include "src/cli/objects.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include <fmt/format.h>

#include "formats/json_reader.h"
#include "formats/option_value.h"
#include "io/bytes.h"
#include "io/unique_fd.h"

namespace platter::cli {
namespace {

constexpr std::size_t kFileMax = 1 * kMiB;
constexpr std::size_t kKeySize = 32;  // bytes: AES-256

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

Result<std::vector<std::byte>> read_secret_file(const std::string& name) {
  const auto failed = [&](int os_error) {
    return fail(kind_of_errno(os_error), fmt::format("Unable to read {}: Failed to open file "
                                                     "\u201c{}\u201d: {}",
                                                     name, name, errno_text(os_error)));
  };
  const UniqueFd fd(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return failed(errno);
  std::vector<std::byte> bytes(kFileMax + 1);
  std::size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t count = ::read(fd.get(), bytes.data() + size, bytes.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed(errno);
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  std::vector<std::byte> secret(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
  ::explicit_bzero(bytes.data(), bytes.size());
  if (size > kFileMax) {
    return fail(ErrorKind::too_large,
                fmt::format("Unable to read {}: more than {} bytes", name, kFileMax));
  }
  return secret;
}

// As QEMU: what is no letter of the alphabet is an error, line ends are passed over, and what is left over
// at the end is dropped.
Result<std::vector<std::byte>> decode_base64(std::span<const std::byte> text) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::byte> bytes;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const std::byte byte : text) {
    const char letter = static_cast<char>(byte);
    if (letter == '\n' || letter == '\r' || letter == '=') continue;
    const std::size_t value = kAlphabet.find(letter);
    if (value == std::string_view::npos) return wrong("Base64 data contains invalid characters");
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<std::byte>(bits >> count));
  }
  return bytes;
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

Result<void> check_words(const SecretWords& words, const Objects& others) {
  const auto has = [&](const std::string& id) {
    return std::ranges::find(others.secrets, id, &SecretObject::id) != others.secrets.end();
  };
  if (Result<void> good = check_identifier(words.id, "id"); !good) return good;
  if (has(words.id)) {
    return wrong(fmt::format("attempt to add duplicate property '{}' to object (type 'container')",
                             words.id));
  }
  if (words.data && words.file) return wrong("'file' and 'data' are mutually exclusive");
  if (!words.data && !words.file) return wrong("Either 'file' or 'data' must be provided");
  if (!words.keyid) return {};
  const auto key = std::ranges::find(others.secrets, *words.keyid, &SecretObject::id);
  if (key == others.secrets.end()) {
    return wrong(fmt::format("No secret with id '{}'", *words.keyid));
  }
  if (key->data.size() != kKeySize) {
    return wrong(fmt::format("Key should be {} bytes in length", kKeySize));
  }
  if (!words.iv) return wrong("IV is required to decrypt secret");
  return {};
}

Result<SecretObject> make_secret(BlockOptions pairs, Objects& others) {
  const Result<SecretWords> words = take_words(pairs);
  if (!words) return fail(words.error().clone());
  if (auto good = check_words(*words, others); !good) return fail(std::move(good.error()));
  SecretObject secret;
  secret.id = words->id;
  secret.keyid = words->keyid;
  secret.iv = words->iv;
  if (words->file) {
    Result<std::vector<std::byte>> bytes = read_secret_file(*words->file);
    if (!bytes) return fail(std::move(bytes.error()));
    secret.data = *std::move(bytes);
  } else {
    const auto bytes = std::as_bytes(std::span(*words->data));
    secret.data.assign(bytes.begin(), bytes.end());
  }
  if (words->base64) {
    Result<std::vector<std::byte>> decoded = decode_base64(secret.data);
    if (!decoded) return fail(std::move(decoded.error()));
    ::explicit_bzero(secret.data.data(), secret.data.size());
    secret.data = *std::move(decoded);
  }
  if (words->data && !words->keyid) {
    others.warnings.push_back(fmt::format(
        "secret '{}': data= shows to everyone who can list processes; file= does not", secret.id));
  }
  return secret;
}

}  // namespace

SecretObject::~SecretObject() {
  if (!data.empty()) ::explicit_bzero(data.data(), data.size());
}

Result<Objects> make_objects(const std::vector<std::string>& definitions) {
  Objects objects;
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
    Result<SecretObject> secret = make_secret(*std::move(pairs), objects);
    if (!secret) return fail(std::move(secret.error()));
    objects.secrets.push_back(*std::move(secret));
  }
  return objects;
}

}  // namespace platter::cli
