#include "src/cli/disk_arguments.h"

#include <filesystem>
#include <system_error>
#include <utility>

namespace platter::cli {
namespace {

Result<std::string> absolute(const std::string& path) {
  std::error_code error;
  std::string found = std::filesystem::absolute(path, error).lexically_normal().string();
  if (error) return fail_errno(error.value(), "resolve", path);
  while (found.size() > 1 && found.ends_with('/')) found.pop_back();
  return found;
}

}  // namespace

Result<provision::Config> given_config(const Arguments& arguments) {
  provision::Config config;
  if (arguments.has("config")) {
    Result<provision::Config> read = provision::read_config(arguments.value("config"));
    if (!read) return read;
    config = *std::move(read);
  }
  if (arguments.has("backend")) {
    const Result<provision::BackendKind> kind =
        provision::parse_backend(arguments.value("backend"));
    if (!kind) return fail(kind.error().clone());
    config.backend = *kind;
  }
  if (arguments.has("instances")) {
    Result<std::string> folder = absolute(arguments.value("instances"));
    if (!folder) return fail(std::move(folder.error()));
    config.instances = *std::move(folder);
  }
  if (Result<void> fits = provision::check(config); !fits) return fail(std::move(fits.error()));
  return config;
}

Result<provision::DiskName> given_disk(const Arguments& arguments) {
  for (const std::string_view option : {"instance", "disk"}) {
    if (arguments.has(option)) continue;
    return fail(ErrorKind::invalid_argument, "Expecting --" + std::string(option));
  }
  return provision::DiskName::parse(arguments.value("instance"), arguments.value("disk"));
}

}  // namespace platter::cli
