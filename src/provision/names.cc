#include "src/provision/names.h"

#include <algorithm>
#include <cstddef>
#include <span>

#include <fmt/format.h>

#include "crypto/digest.h"

namespace platter::provision {
namespace {

constexpr std::size_t kFileNameMax = 128;
constexpr std::size_t kImageIdMax = 1024;
constexpr std::size_t kVolumeGroupMax = 127;  // LVM: a name and its suffixes fit into 128 bytes
constexpr std::size_t kVolumeMax = 127;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_name_character(char c) {
  return is_letter(c) || is_digit(c) || c == '_' || c == '.' || c == '-';
}
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// As it may be shown: what is no printable ASCII is a question mark, and not too much of it.
std::string shown(std::string_view name) {
  constexpr std::size_t kShownMax = 64;
  std::string text(name.substr(0, kShownMax));
  std::ranges::replace_if(text, [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return name.size() > kShownMax ? text + "..." : text;
}

}  // namespace

Result<void> check_instance(std::string_view uuid) {
  constexpr std::string_view kForm = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  const bool fits =
      uuid.size() == kForm.size() && std::ranges::equal(uuid, kForm, [](char c, char form) {
        return form == '-' ? c == '-' : is_hex(c);
      });
  if (fits) return {};
  return fail(
      ErrorKind::invalid_argument,
      fmt::format("'{}' is no instance: a UUID of lower-case digits is expected", shown(uuid)));
}

Result<void> check_file_name(std::string_view name, std::string_view what) {
  const bool fits = !name.empty() && name.size() <= kFileNameMax && name.front() != '.' &&
                    name.front() != '-' && std::ranges::all_of(name, is_name_character);
  if (fits) return {};
  return fail(ErrorKind::invalid_argument,
              fmt::format("'{}' is no name of a {}: up to {} letters, digits, '_', '.' and '-' are "
                          "expected, the first one a letter, a digit or '_'",
                          shown(name), what, kFileNameMax));
}

Result<void> check_volume_group(std::string_view name) {
  const auto allowed = [](char c) { return is_name_character(c) || c == '+'; };
  const bool fits = !name.empty() && name.size() <= kVolumeGroupMax && name.front() != '-' &&
                    name != "." && name != ".." && std::ranges::all_of(name, allowed);
  if (fits) return {};
  return fail(ErrorKind::invalid_argument,
              fmt::format("'{}' is no name of a volume group", shown(name)));
}

Result<DiskName> DiskName::parse(std::string_view instance, std::string_view disk) {
  if (Result<void> fits = check_instance(instance); !fits) return fail(std::move(fits.error()));
  if (Result<void> fits = check_file_name(disk, "disk"); !fits) {
    return fail(std::move(fits.error()));
  }
  if (disk.starts_with("disk.info")) {
    return fail(ErrorKind::invalid_argument,
                "'disk.info' is where the formats of an instance's disks are kept");
  }
  return DiskName{.instance = std::string(instance), .disk = std::string(disk)};
}

Result<std::string> base_name_of(std::string_view image_id) {
  if (image_id.empty() || image_id.size() > kImageIdMax ||
      std::ranges::any_of(image_id, is_control)) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("'{}' is no id of an image: 1 to {} bytes without control characters "
                            "are expected",
                            shown(image_id), kImageIdMax));
  }
  Result<Digest> digest = Digest::create("sha1");
  if (!digest) return fail(std::move(digest.error()));
  Result<void> updated = digest->update(std::as_bytes(std::span(image_id)));
  if (!updated) return fail(std::move(updated.error()));
  const auto bytes = digest->finish();
  if (!bytes) return fail(bytes.error().clone());
  return hex_text(*bytes);
}

std::string base_lock_name(std::string_view base) { return fmt::format("nova-{}", base); }

std::string instance_lock_name(std::string_view instance) {
  return fmt::format("platter-{}", instance);
}

Result<std::string> volume_name(const DiskName& disk) {
  std::string name = disk.instance + "_";
  for (const char c : disk.disk) name.append(c == '_' ? 2 : 1, c);
  if (name.size() <= kVolumeMax) return name;
  return fail(ErrorKind::invalid_argument,
              fmt::format("'{}' is too long as the name of a volume", shown(name)));
}

}  // namespace platter::provision
