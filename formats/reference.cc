#include "formats/reference.h"

#include <limits.h>

#include <array>
#include <cstdlib>
#include <optional>

namespace platter {
namespace {

std::optional<std::string> resolved(std::string name) {
  const Result<std::string> path = plain_path(std::move(name));
  std::array<char, PATH_MAX> target{};
  if (!path || ::realpath(path->c_str(), target.data()) == nullptr) return std::nullopt;
  return target.data();
}

}  // namespace

std::string referenced_path(std::string_view image_path, const std::string& name) {
  const std::size_t special = name.find_first_of(":/");
  const bool has_protocol = special != std::string::npos && name[special] == ':';
  if (has_protocol || name.starts_with('/')) return name;
  const std::size_t slash = image_path.rfind('/');
  if (slash == std::string_view::npos) return name;
  return std::string(image_path.substr(0, slash + 1)) + name;
}

Result<std::string> plain_path(std::string name) {
  constexpr std::string_view kFile = "file:";
  if (name.starts_with(kFile)) return name.substr(kFile.size());
  const std::size_t special = name.find_first_of(":/");
  if (special == std::string::npos || name[special] != ':') return name;
  return fail(ErrorKind::unsupported, "Unknown protocol '" + name.substr(0, special) + "'");
}

bool means_file(std::string_view image_path, const std::string& name, const std::string& path) {
  if (name.empty()) return false;
  const auto meant = resolved(referenced_path(image_path, name));
  return meant && meant == resolved(path);
}

}  // namespace platter
