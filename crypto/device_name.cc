#include "crypto/device_name.h"

#include <algorithm>

#include <fmt/format.h>

namespace platter {
namespace {

constexpr std::size_t kNameMax = 127;  // of both LVM and device-mapper

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// A message is one line whatever the name holds.
std::string printable(std::string_view name) {
  std::string text;
  for (const char c : name.substr(0, kNameMax)) {
    const auto byte = static_cast<unsigned char>(c);
    text += byte < 0x20 || byte == 0x7f ? fmt::format("\\x{:02x}", byte) : std::string(1, c);
  }
  return name.size() > kNameMax ? text + "..." : text;
}

Result<void> check_name(std::string_view what, std::string_view name, std::string_view others) {
  const auto wrong = [&](std::string_view why) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("Invalid {} name '{}': {}", what, printable(name), why));
  };
  if (name.empty()) return wrong("it is empty");
  if (name.size() > kNameMax) return wrong(fmt::format("it is longer than {} bytes", kNameMax));
  if (name == "." || name == "..") return wrong("it is a folder's");
  const bool allowed = std::ranges::all_of(
      name, [others](char c) { return is_alphanumeric(c) || others.contains(c); });
  if (!allowed) return wrong(fmt::format("only letters, digits and {} are allowed", others));
  return {};
}

std::string with_doubled_hyphens(std::string_view name) {
  std::string doubled;
  for (const char c : name) doubled.append(c == '-' ? 2 : 1, c);
  return doubled;
}

}  // namespace

Result<void> check_volume_name(std::string_view what, std::string_view name) {
  if (auto checked = check_name(what, name, "+_.-"); !checked) return checked;
  if (!name.starts_with('-')) return {};
  return fail(ErrorKind::invalid_argument,
              fmt::format("Invalid {} name '{}': it begins with a hyphen", what, name));
}

Result<void> check_mapping_name(std::string_view name) {
  if (auto checked = check_name("mapping", name, "#+-.:=@_"); !checked) return checked;
  if (name != "control") return {};
  return fail(ErrorKind::invalid_argument,
              "Invalid mapping name 'control': that is device-mapper's own");
}

Result<void> check_device_path(std::string_view path) {
  if (path.starts_with('/') && !path.contains('\0')) return {};
  return fail(ErrorKind::invalid_argument,
              fmt::format("Invalid device '{}': an absolute path is needed", printable(path)));
}

std::string mapping_of_volume(std::string_view group, std::string_view volume) {
  return with_doubled_hyphens(group) + "-" + with_doubled_hyphens(volume);
}

std::string path_of_volume(std::string_view group, std::string_view volume) {
  return fmt::format("/dev/{}/{}", group, volume);
}

}  // namespace platter
