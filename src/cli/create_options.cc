#include "src/cli/create_options.h"

#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>

#include "crypto/key_hash.h"
#include "formats/option_value.h"
#include "io/check.h"
#include "src/cli/nearest.h"
#include "src/cli/size.h"

namespace platter::cli {
namespace {

using enum ValueType;

// What the file itself takes, whatever the format.
constexpr CreateOptionType kFileOptions[] = {
    {"nocow", boolean, "Turn off copy-on-write (valid only on btrfs)"},
    {"preallocation", text, "Preallocation mode (allowed values: off, falloc, full)"},
    {"extent_size_hint", size, "Extent size hint for the image file, 0 to disable"},
};

constexpr CreateOptionType kRawOptions[] = {{"size", size, "Virtual disk size"}};

// In the order in which qemu-img shows them.
constexpr CreateOptionType kQcow2Options[] = {
    {"encryption", boolean,
     "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)"},
    {"encrypt.format", text, "Encrypt the image, format choices: 'aes', 'luks'"},
    {"encrypt.key-secret", text, "ID of secret providing qcow AES key or LUKS passphrase"},
    {"encrypt.cipher-alg", text, "Name of encryption cipher algorithm"},
    {"encrypt.cipher-mode", text, "Name of encryption cipher mode"},
    {"encrypt.ivgen-alg", text, "Name of IV generator algorithm"},
    {"encrypt.ivgen-hash-alg", text, "Name of IV generator hash algorithm"},
    {"encrypt.hash-alg", text, "Name of encryption hash algorithm"},
    {"encrypt.iter-time", number, "Time to spend in PBKDF in milliseconds"},
    {"cluster_size", size, "qcow2 cluster size", "65536"},
    {"extended_l2", boolean, "Extended L2 tables", "off"},
    {"preallocation", text, "Preallocation mode (allowed values: off, metadata, falloc, full)"},
    {"compression_type", text, "Compression method used for image cluster compression", "zlib"},
    {"size", size, "Virtual disk size"},
    {"compat", text, "Compatibility level (v2 [0.10] or v3 [1.1])"},
    {"backing_file", text, "File name of a base image"},
    {"backing_fmt", text, "Image format of the base image"},
    {"data_file", text, "File name of an external data file"},
    {"data_file_raw", boolean, "The external data file must stay valid as a raw image"},
    {"lazy_refcounts", boolean, "Postpone refcount updates", "off"},
    {"refcount_bits", number, "Width of a reference count entry in bits", "16"},
};

// In the order in which qemu-img shows them.
constexpr CreateOptionType kLuksOptions[] = {
    {"size", size, "Virtual disk size"},
    {"key-secret", text, "ID of the secret that provides the keyslot passphrase"},
    {"cipher-alg", text, "Name of encryption cipher algorithm"},
    {"cipher-mode", text, "Name of encryption cipher mode"},
    {"ivgen-alg", text, "Name of IV generator algorithm"},
    {"ivgen-hash-alg", text, "Name of IV generator hash algorithm"},
    {"hash-alg", text, "Name of encryption hash algorithm"},
    {"iter-time", number, "Time to spend in PBKDF in milliseconds"},
};

constexpr CreateOptionType kLuksAmendOptions[] = {
    {"iter-time", number, "Time to spend in PBKDF in milliseconds"},
    {"keyslot", number, "Select a single keyslot to modify explicitly"},
    {"new-secret", text, "New secret to set in the matching keyslots. Empty string to erase"},
    {"old-secret", text, "Select all keyslots that match this password"},
    {"state", text, "Select new state of affected keyslots (active/inactive)"},
};

// In the order in which qemu-img lists them.
constexpr CreateOptionType kAmendOptions[] = {
    {"backing_file", text, "File name of a base image"},
    {"backing_fmt", text, "Image format of the base image"},
    {"compat", text, "Compatibility level (v2 [0.10] or v3 [1.1])"},
    {"data_file", text, "File name of an external data file"},
    {"data_file_raw", boolean, "The external data file must stay valid as a raw image"},
    {"encrypt.iter-time", number, "Time to spend in PBKDF in milliseconds"},
    {"encrypt.keyslot", number, "Select a single keyslot to modify explicitly"},
    {"encrypt.new-secret", text,
     "New secret to set in the matching keyslots. Empty string to erase"},
    {"encrypt.old-secret", text, "Select all keyslots that match this password"},
    {"encrypt.state", text, "Select new state of affected keyslots (active/inactive)"},
    {"lazy_refcounts", boolean, "Postpone refcount updates"},
    {"refcount_bits", number, "Width of a reference count entry in bits"},
    {"size", size, "Virtual disk size"},
};

// The formats that qemu-img 7.2 lets an image name as that of its backing file, whether it can be
// opened or not.
constexpr std::string_view kBackingFormats[] = {
    "blkdebug",     "blklogwrites", "blkreplay",   "blkverify",
    "bochs",        "cloop",        "compress",    "copy-before-write",
    "copy-on-read", "dmg",          "file",        "snapshot-access",
    "ftp",          "ftps",         "gluster",     "host_cdrom",
    "host_device",  "http",         "https",       "iscsi",
    "luks",         "nbd",          "nfs",         "null-aio",
    "null-co",      "nvme",         "parallels",   "preallocate",
    "qcow",         "qcow2",        "qed",         "quorum",
    "raw",          "rbd",          "replication", "ssh",
    "throttle",     "vdi",          "vhdx",        "vmdk",
    "vpc",          "vvfat",
};

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

std::unexpected<Error> not_accepted(std::string_view name, std::string_view value) {
  return wrong(fmt::format("Parameter '{}' does not accept value '{}'", name, value));
}

std::string_view type_name(ValueType type) {
  switch (type) {
    case text: return "str";
    case boolean: return "bool (on/off)";
    case number: return "num";
    case size: return "size";
  }
  return {};
}

// As it could be given again: a comma within a value is doubled.
std::string escaped(std::string_view value) {
  std::string doubled;
  for (const char letter : value) doubled.append(letter == ',' ? 2 : 1, letter);
  return doubled;
}

Result<Preallocation> parse_mode(const CreateOptionValues& values, Preallocation otherwise) {
  const std::optional<std::string> mode = values.text("preallocation");
  return mode ? parse_preallocation(*mode) : Result<Preallocation>(otherwise);
}

}  // namespace

CreateOptionValues CreateOptionValues::of_format(std::string_view format) {
  if (format == "qcow2") return {"qcow2", kQcow2Options, kFileOptions};
  if (format == "luks") return {"luks", kLuksOptions, kFileOptions};
  return {"raw", kRawOptions, kFileOptions};
}

CreateOptionValues CreateOptionValues::of_amendment(std::string_view format) {
  if (format == "luks") return {"luks", kLuksAmendOptions, {}};
  return {"qcow2", kAmendOptions, {}};
}

bool CreateOptionValues::creates(std::string_view format, const std::vector<CreateOption>& given) {
  CreateOptionValues values = format == "luks" ? CreateOptionValues("luks", kLuksOptions, {})
                                               : CreateOptionValues("qcow2", kQcow2Options, {});
  return values.set(given).has_value();
}

CreateOptionValues::CreateOptionValues(std::string_view format,
                                       std::span<const CreateOptionType> own,
                                       std::span<const CreateOptionType> file)
    : format_(format), own_(own), all_(own.begin(), own.end()) {
  for (const CreateOptionType& type : file) {
    if (!knows(type.name)) all_.push_back(type);
  }
}

const CreateOptionType* CreateOptionValues::type_of(std::string_view name) const noexcept {
  const auto found = std::ranges::find(all_, name, &CreateOptionType::name);
  return found == all_.end() ? nullptr : &*found;
}

const CreateOptionValues::Value* CreateOptionValues::find(std::string_view name) const noexcept {
  const auto found = std::ranges::find(values_, name, &Value::name);
  return found == values_.end() ? nullptr : &*found;
}

bool CreateOptionValues::has_any(std::string_view prefix) const noexcept {
  return std::ranges::any_of(values_,
                             [&](const Value& value) { return value.name.starts_with(prefix); });
}

CreateOptionValues::Value& CreateOptionValues::value_of(const CreateOptionType& type) {
  const auto found = std::ranges::find(values_, type.name, &Value::name);
  return found != values_.end() ? *found : values_.emplace_back(Value{type.name, {}});
}

std::unexpected<Error> CreateOptionValues::unknown(std::string_view name, bool suggests) const {
  std::vector<std::string_view> names;
  names.reserve(all_.size());
  for (const CreateOptionType& type : all_) names.push_back(type.name);
  return wrong(
      fmt::format("Invalid parameter '{}'{}", name, suggests ? did_you_mean(name, names) : ""));
}

Result<void> CreateOptionValues::set(const std::vector<CreateOption>& given, bool suggests) {
  for (const auto& [name, value] : given) {
    const CreateOptionType* type = type_of(name);
    if (type == nullptr) return unknown(name, suggests);
    Result<std::uint64_t> read = std::uint64_t{0};
    if (type->type == ValueType::boolean) {
      const Result<bool> on = parse_boolean_option(value, name);
      read = on ? Result<std::uint64_t>(*on) : fail(on.error().clone());
    }
    if (type->type == ValueType::number) read = parse_number_option(value, name);
    if (type->type == ValueType::size) read = parse_size_option(value, name);
    if (!read) return fail(std::move(read.error()));
    Value& stored = value_of(*type);
    stored.text = value;
    stored.number = *read;
  }
  return {};
}

void CreateOptionValues::set_text(std::string_view name, std::string value) {
  const CreateOptionType* type = type_of(name);
  PLATTER_CHECK(type != nullptr && type->type == ValueType::text);
  value_of(*type).text = std::move(value);
}

void CreateOptionValues::set_size(std::string_view name, std::uint64_t bytes) {
  const CreateOptionType* type = type_of(name);
  PLATTER_CHECK(type != nullptr && type->type == ValueType::size);
  value_of(*type).number = bytes;
}

std::optional<std::string> CreateOptionValues::text(std::string_view name) const {
  const Value* value = find(name);
  return value != nullptr ? std::optional(value->text) : std::nullopt;
}

std::optional<std::uint64_t> CreateOptionValues::number(std::string_view name) const {
  const Value* value = find(name);
  return value != nullptr ? std::optional(value->number) : std::nullopt;
}

std::optional<bool> CreateOptionValues::boolean(std::string_view name) const {
  const Value* value = find(name);
  return value != nullptr ? std::optional(value->number != 0) : std::nullopt;
}

std::string CreateOptionValues::shown() const {
  std::string line;
  for (const CreateOptionType& type : all_) {
    const Value* value = find(type.name);
    std::string value_text = std::string(type.default_text);
    if (value == nullptr && value_text.empty()) continue;
    if (value != nullptr) {
      switch (type.type) {
        case ValueType::text:
        case ValueType::boolean: value_text = escaped(value->text); break;
        // qemu-img shows numbers with a sign.
        case ValueType::number:
          value_text = std::to_string(static_cast<std::int64_t>(value->number));
          break;
        case ValueType::size: value_text = std::to_string(value->number); break;
      }
    }
    line += fmt::format(" {}={}", type.name, value_text);
  }
  return line;
}

namespace {

std::string lines_of(std::vector<CreateOptionType> types) {
  std::ranges::sort(types, {}, &CreateOptionType::name);
  std::string lines;
  for (const CreateOptionType& type : types) {
    const std::string left = fmt::format("{}=<{}>", type.name, type_name(type.type));
    lines += fmt::format("  {:<22} - {}\n", left, type.help);
  }
  return lines;
}

}  // namespace

std::string CreateOptionValues::amendment_help() const {
  return fmt::format("Amend options for '{}':\n", format_) + lines_of(all_);
}

std::string CreateOptionValues::help(bool with_file) const {
  std::string lines =
      with_file ? "Supported options:\n" : fmt::format("Supported {} options:\n", format_);
  lines += lines_of(with_file ? all_ : std::vector(own_.begin(), own_.end()));
  if (!with_file) {
    lines +=
        "\n"
        "The protocol level may support further options.\n"
        "Specify the target filename to include those options.\n";
  }
  return lines;
}

FileAttributes attributes_of(const CreateOptionValues& values) {
  return {.no_cow = values.boolean("nocow").value_or(false),
          .extent_size_hint = values.number("extent_size_hint")};
}

Result<Preallocation> raw_preallocation_of(const CreateOptionValues& values) {
  const Result<Preallocation> mode = parse_mode(values, Preallocation::off);
  if (!mode) return wrong("invalid parameter value: " + *values.text("preallocation"));
  if (*mode == Preallocation::metadata) {
    return fail(ErrorKind::unsupported, "Unsupported preallocation mode: metadata");
  }
  return *mode;
}

Result<unsigned> parse_compatibility(const std::string& compat) {
  if (compat == "0.10" || compat == "v2") return 2U;
  if (compat == "1.1" || compat == "v3") return 3U;
  return not_accepted("version", compat);
}

namespace {

Result<qcow2::CompressionType> parse_compression(const CreateOptionValues& values) {
  const std::string name = values.text("compression_type").value_or("zlib");
  if (name == "zlib") return qcow2::CompressionType::zlib;
  if (name == "zstd") return qcow2::CompressionType::zstd;
  return not_accepted("compression-type", name);
}

Result<void> check_not_encrypted(const CreateOptionValues& values) {
  for (const CreateOptionType& type : kQcow2Options) {
    const bool asks = type.name == "encryption"
                          ? values.boolean(type.name).value_or(false)
                          : type.name.starts_with("encrypt.") && values.has(type.name);
    if (!asks) continue;
    return fail(ErrorKind::unsupported,
                fmt::format("Parameter '{}': encrypted images can't be made yet", type.name));
  }
  return {};
}

}  // namespace

// Words are looked at in the order in which qemu-img does.
Result<qcow2::CreateOptions> qcow2_options_of(const CreateOptionValues& values) {
  qcow2::CreateOptions options;
  const Result<unsigned> version = parse_compatibility(values.text("compat").value_or("1.1"));
  if (!version) return fail(version.error().clone());
  options.version = *version;
  options.backing_file = values.text("backing_file");
  options.backing_format = values.text("backing_fmt");
  if (const auto& format = options.backing_format;
      format && std::ranges::find(kBackingFormats, *format) == std::end(kBackingFormats)) {
    return not_accepted("backing-fmt", *format);
  }
  if (auto plain = check_not_encrypted(values); !plain) return fail(std::move(plain.error()));
  const Result<Preallocation> mode = parse_mode(values, options.preallocation);
  if (!mode) return not_accepted("preallocation", *values.text("preallocation"));
  options.preallocation = *mode;
  const Result<qcow2::CompressionType> compression = parse_compression(values);
  if (!compression) return fail(compression.error().clone());
  options.compression_type = *compression;

  options.size = values.number("size").value_or(options.size);
  options.cluster_size = values.number("cluster_size").value_or(options.cluster_size);
  options.refcount_bits = values.number("refcount_bits").value_or(options.refcount_bits);
  options.lazy_refcounts = values.boolean("lazy_refcounts").value_or(false);
  options.extended_l2 = values.boolean("extended_l2").value_or(false);
  options.data_file = values.text("data_file");
  options.data_file_raw = values.boolean("data_file_raw").value_or(false);
  return options;
}

namespace {

// QEMU's names of ciphers: "aes-256".
Result<void> read_cipher(const std::string& name, luks::Luks1CreateOptions& options) {
  for (const CipherAlgorithm algorithm : {CipherAlgorithm::aes, CipherAlgorithm::serpent,
                                          CipherAlgorithm::twofish, CipherAlgorithm::cast5}) {
    for (const unsigned bits : {128U, 192U, 256U}) {
      if (algorithm == CipherAlgorithm::cast5 && bits != 128) continue;
      if (name != fmt::format("{}-{}", to_string(algorithm), bits)) continue;
      options.algorithm = algorithm;
      options.key_bits = bits;
      return {};
    }
  }
  if (name == "des" || name == "3des") {
    return fail(ErrorKind::unsupported, fmt::format("Algorithm '{}' not supported", name));
  }
  return not_accepted("cipher-alg", name);
}

template <class Value>
Result<void> read_word(const CreateOptionValues& values, std::string_view option,
                       std::initializer_list<Value> choices, Value& into) {
  const std::optional<std::string> word = values.text(option);
  if (!word) return {};
  for (const Value choice : choices) {
    if (*word != to_string(choice)) continue;
    into = choice;
    return {};
  }
  return not_accepted(option, *word);
}

Result<std::optional<std::string>> read_hash(const CreateOptionValues& values,
                                             std::string_view option) {
  const std::optional<std::string> name = values.text(option);
  if (name && !key_hash_size(*name)) return not_accepted(option, *name);
  return name;
}

Result<luks::Luks1CreateOptions> luks_header_of(const CreateOptionValues& values) {
  luks::Luks1CreateOptions options;
  Result<void> done;
  if (const auto cipher = values.text("cipher-alg")) done = read_cipher(*cipher, options);
  if (done) {
    done = read_word(values, "cipher-mode",
                     {CipherMode::ecb, CipherMode::cbc, CipherMode::xts, CipherMode::ctr},
                     options.mode);
  }
  if (done) {
    done = read_word(values, "ivgen-alg",
                     {IvGenerator::plain, IvGenerator::plain64, IvGenerator::essiv}, options.iv);
  }
  if (!done) return fail(std::move(done.error()));
  const auto iv_hash = read_hash(values, "ivgen-hash-alg");
  if (!iv_hash) return fail(iv_hash.error().clone());
  options.iv_hash = *iv_hash;
  const auto hash = read_hash(values, "hash-alg");
  if (!hash) return fail(hash.error().clone());
  options.hash = hash->value_or(options.hash);
  const std::uint64_t time = values.number("iter-time").value_or(options.time_ms);
  constexpr std::uint64_t kTimeMax = 600'000;
  if (time > kTimeMax) return wrong("PBKDF iterations time must be ten minutes at most");
  options.time_ms = static_cast<std::uint32_t>(time);
  return options;
}

}  // namespace

Result<LuksCreateOptions> luks_options_of(const CreateOptionValues& values,
                                          const SecretProvider& secrets) {
  LuksCreateOptions options;
  Result<luks::Luks1CreateOptions> header = luks_header_of(values);
  if (!header) return fail(std::move(header.error()));
  options.header = *std::move(header);
  const std::optional<std::string> id = values.text("key-secret");
  if (!id) return wrong("Parameter 'key-secret' is required for cipher");
  Result<Secret> passphrase = secrets.get(*id);
  if (!passphrase) return fail(std::move(passphrase.error()));
  options.passphrase = std::make_shared<const Secret>(*std::move(passphrase));
  return options;
}

}  // namespace platter::cli
