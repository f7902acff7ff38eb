// What --base names: where a base image comes from, and what it is called.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "src/provision/template_source.h"

namespace platter::cli {

struct BaseSource {
  std::unique_ptr<provision::TemplateSource> source;
  /// What tells this image from others, where nobody says: of a file its path, size and time of change;
  /// of what a server has, the URL. Empty: nothing does (a pipe).
  std::string image_id;
  /// The base's name where it does not follow from that: of what is made here.
  std::string base_name = {};
};

/// As provision::make_source() has it. Errors: those, not_found, io.
Result<BaseSource> open_base_source(const std::string& text);

/// "swap", "ext4", "xfs" or "vfat", made with this size in bytes: whole MiB for swap, else whole GiB, as
/// the base's name says them. Errors: invalid_argument.
Result<BaseSource> made_base_source(const std::string& what, std::uint64_t size);

}  // namespace platter::cli
