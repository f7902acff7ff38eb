// read_config() and parse_config(): tables of keys, and what each of them sets.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "io/size_text.h"
#include "io/unique_fd.h"
#include "src/provision/config.h"

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace platter::provision {
namespace {

constexpr std::size_t kFileSizeMax = std::size_t{1} << 20;

// What is wrong with a value, without the place; empty: nothing.
using Setter = std::function<std::string(const toml::node&)>;
struct Key {
  std::string_view name;
  Setter set;
};

Setter text(std::string& into) {
  return [&into](const toml::node& node) -> std::string {
    const auto value = node.value_exact<std::string>();
    if (!value) return "a text is expected";
    if (value->contains('\0')) return "a text without zero bytes is expected";
    into = *value;
    return {};
  };
}

Setter flag(bool& into) {
  return [&into](const toml::node& node) -> std::string {
    const auto value = node.value_exact<bool>();
    if (!value) return "true or false is expected";
    into = *value;
    return {};
  };
}

template <class Number>
Setter number(Number& into) {
  return [&into](const toml::node& node) -> std::string {
    const auto value = node.value_exact<std::int64_t>();
    if (!value || *value < 1 || !std::in_range<Number>(*value)) {
      return "a whole number, 1 or more, is expected";
    }
    into = static_cast<Number>(*value);
    return {};
  };
}

Setter seconds(std::chrono::seconds& into) {
  return [&into](const toml::node& node) -> std::string {
    constexpr std::int64_t kMax = std::int64_t{100} * 365 * 24 * 3600;
    const auto value = node.value_exact<std::int64_t>();
    if (!value || *value < 0 || *value > kMax) return "a number of seconds is expected";
    into = std::chrono::seconds(*value);
    return {};
  };
}

// Bytes: a number, or a text such as "64K".
template <class Size>
Setter size(Size& into) {
  return [&into](const toml::node& node) -> std::string {
    if (const auto bytes = node.value_exact<std::int64_t>(); bytes && *bytes >= 0) {
      into = static_cast<std::uint64_t>(*bytes);
      return {};
    }
    const auto text = node.value_exact<std::string>();
    if (!text) return "a size is expected";
    const Result<std::uint64_t> bytes = parse_size(*text);
    if (!bytes) return fmt::format("'{}' is no size", *text);
    into = *bytes;
    return {};
  };
}

template <class Value, std::size_t count>
Setter choice(Value& into, const std::array<std::pair<std::string_view, Value>, count>& values) {
  return [&into, values](const toml::node& node) -> std::string {
    const auto text = node.value_exact<std::string>();
    std::string names;
    for (const auto& [name, value] : values) {
      if (text && *text == name) {
        into = value;
        return {};
      }
      names += fmt::format("{}'{}'", names.empty() ? "" : ", ", name);
    }
    return fmt::format("one of {} is expected", names);
  };
}

constexpr std::array<std::pair<std::string_view, BackendKind>, 3> kBackends{
    {{"flat", BackendKind::flat}, {"qcow2", BackendKind::qcow2}, {"lvm", BackendKind::lvm}}};
constexpr std::array<std::pair<std::string_view, VolumeKind>, 3> kVolumes{
    {{"linear", VolumeKind::linear}, {"sparse", VolumeKind::sparse}, {"thin", VolumeKind::thin}}};
constexpr std::array<std::pair<std::string_view, WipeMethod>, 4> kWipes{
    {{"none", WipeMethod::none},
     {"zero", WipeMethod::zero},
     {"discard", WipeMethod::discard},
     {"random", WipeMethod::random}}};
constexpr std::array<std::pair<std::string_view, EncryptionFormat>, 3> kEncryptions{
    {{"plain", EncryptionFormat::plain},
     {"luks1", EncryptionFormat::luks1},
     {"luks2", EncryptionFormat::luks2}}};

class ConfigReader {
 public:
  ConfigReader(std::string name, Config& config) : name_(std::move(name)), config_(config) {}
  Result<void> read(const toml::table& table);

 private:
  Result<void> read_section(const toml::table& table, std::string_view section,
                            const std::vector<Key>& keys);
  std::vector<Key> section_keys(std::string_view section);
  std::unexpected<Error> wrong(const toml::source_region& place, std::string_view reason) const {
    return fail(ErrorKind::invalid_argument,
                fmt::format("{}:{}: {}", name_, place.begin.line, reason));
  }

  std::string name_;
  Config& config_;
};

std::vector<Key> ConfigReader::section_keys(std::string_view section) {
  Config& c = config_;
  if (section == "lvm") {
    return {{"volume_group", text(c.volumes.volume_group)},
            {"volumes", choice(c.volumes.kind, kVolumes)},
            {"thin_pool", text(c.volumes.thin_pool)},
            {"clear", choice(c.volumes.clear.method, kWipes)},
            {"clear_size", size(c.volumes.clear.first)},
            {"clear_passes", number(c.volumes.clear.passes)}};
  }
  if (section == "encryption") {
    return {{"enabled", flag(c.encryption.enabled)},
            {"format", choice(c.encryption.format, kEncryptions)},
            {"cipher", text(c.encryption.cipher)},
            {"key_size", number(c.encryption.key_bits)},
            {"hash", text(c.encryption.hash)},
            {"key_file", text(c.encryption.key_file)}};
  }
  if (section == "cache") {
    return {{"retention", seconds(c.cache.retention)},
            {"resized_retention", seconds(c.cache.resized_retention)}};
  }
  if (section == "limits") {
    return {{"lock_wait", seconds(c.limits.lock_wait)},
            {"template_size", size(c.limits.template_max)},
            {"disk_size", size(c.limits.disk_max)}};
  }
  return {};
}

Result<void> ConfigReader::read(const toml::table& table) {
  Config& c = config_;
  const std::vector<Key> top = {
      {"instances", text(c.instances)},          {"base_folder", text(c.base_folder)},
      {"backend", choice(c.backend, kBackends)}, {"force_raw", flag(c.force_raw)},
      {"preallocate", flag(c.preallocate)},      {"cluster_size", size(c.cluster_size)}};
  return read_section(table, "", top);
}

Result<void> ConfigReader::read_section(const toml::table& table, std::string_view section,
                                        const std::vector<Key>& keys) {
  for (const auto& [key, node] : table) {
    const std::string_view name = key.str();
    if (const toml::table* inner = node.as_table(); inner != nullptr && section.empty()) {
      const std::vector<Key> inner_keys = section_keys(name);
      if (inner_keys.empty()) return wrong(key.source(), fmt::format("unknown section [{}]", name));
      if (auto done = read_section(*inner, name, inner_keys); !done) return done;
      continue;
    }
    const std::string shown =
        section.empty() ? std::string(name) : fmt::format("{}.{}", section, name);
    const auto known = std::ranges::find(keys, name, &Key::name);
    if (known == keys.end()) return wrong(key.source(), fmt::format("unknown key '{}'", shown));
    const std::string reason = known->set(node);
    if (!reason.empty()) return wrong(key.source(), fmt::format("{}: {}", shown, reason));
  }
  return {};
}

}  // namespace

Result<Config> parse_config(std::string_view text, const std::string& name) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return fail(ErrorKind::invalid_argument,
                fmt::format("{}:{}: {}", name, error.source().begin.line, error.description()));
  }
  Config config;
  ConfigReader reader(name, config);
  if (Result<void> read = reader.read(parsed.table()); !read) return fail(std::move(read.error()));
  if (Result<void> fits = check(config); !fits) {
    return fail(std::move(fits.error()).with_context(name));
  }
  return config;
}

Result<Config> read_config(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open", path);
  std::string text;
  std::array<char, 4096> piece{};
  for (;;) {
    const ssize_t count = ::read(fd.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, "read", path);
    if (count == 0) return parse_config(text, path);
    text.append(piece.data(), static_cast<std::size_t>(count));
    if (text.size() > kFileSizeMax) {
      return fail(ErrorKind::too_large,
                  fmt::format("'{}' is larger than {} bytes", path, kFileSizeMax));
    }
  }
}

}  // namespace platter::provision
