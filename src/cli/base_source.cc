#include "src/cli/base_source.h"

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "io/bytes.h"
#include "src/provision/generators.h"
#include "src/provision/make_source.h"
#include "src/provision/url_text.h"

namespace platter::cli {
namespace {

Result<std::string> id_of_file(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return fail_errno(errno, "open", path);
  std::error_code error;
  const std::string whole = std::filesystem::canonical(path, error).string();
  if (error) return fail_errno(error.value(), "resolve", path);
  return fmt::format("{}:{}:{}.{:09}", whole, status.st_size, status.st_mtim.tv_sec,
                     status.st_mtim.tv_nsec);
}

}  // namespace

Result<BaseSource> open_base_source(const std::string& text) {
  auto source = provision::make_source(text);
  if (!source) return fail(std::move(source.error()));
  BaseSource base{.source = *std::move(source), .image_id = {}};
  if (provision::looks_like_url(text)) {
    base.image_id = text;
  } else if (text != "-" && !text.starts_with("fd:")) {
    Result<std::string> id = id_of_file(text);
    if (!id) return fail(std::move(id.error()));
    base.image_id = *std::move(id);
  }
  return base;
}

Result<BaseSource> made_base_source(const std::string& what, std::uint64_t size) {
  const bool swap = what == "swap";
  const std::uint64_t unit = swap ? kMiB : kGiB;
  if (size == 0 || size % unit != 0) {
    return fail(
        ErrorKind::invalid_argument,
        fmt::format("The size of {} must be a multiple of 1 {}", what, swap ? "MiB" : "GiB"));
  }
  if (swap) {
    return BaseSource{.source = provision::swap_source(size),
                      .image_id = {},
                      .base_name = provision::swap_base_name(size / unit)};
  }
  const Result<provision::Filesystem> filesystem = provision::parse_filesystem(what);
  if (!filesystem) return fail(filesystem.error().clone());
  auto source = provision::filesystem_source(*filesystem, size);
  if (!source) return fail(std::move(source.error()));
  Result<std::string> name = provision::ephemeral_base_name(size / unit, *filesystem);
  if (!name) return fail(std::move(name.error()));
  return BaseSource{.source = *std::move(source), .image_id = {}, .base_name = *std::move(name)};
}

}  // namespace platter::cli
