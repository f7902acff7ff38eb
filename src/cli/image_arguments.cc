#include "src/cli/image_arguments.h"

#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "src/cli/size.h"

namespace platter::cli {

std::optional<CacheMode> parse_cache_mode(std::string_view name) {
  if (name == "none" || name == "off") return CacheMode{CacheUse::direct, Durability::on_flush};
  if (name == "directsync") return CacheMode{CacheUse::direct, Durability::every_write};
  if (name == "writeback") return CacheMode{CacheUse::buffered, Durability::on_flush};
  if (name == "writethrough") return CacheMode{CacheUse::buffered, Durability::every_write};
  if (name == "unsafe") return CacheMode{CacheUse::buffered, Durability::never};
  return std::nullopt;
}

Result<void> check_target_format(const std::string& format) {
  if (format == "raw") return {};
  if (format == "qcow2") {
    return fail(ErrorKind::unsupported, "qcow2 images can be read, but not written yet");
  }
  return fail(ErrorKind::unknown_format, fmt::format("Unknown file format '{}'", format));
}

Result<bool> wants_json(const Arguments& arguments) {
  const std::string output = arguments.value("output", "human");
  if (output == "json") return true;
  if (output == "human") return false;
  return fail(ErrorKind::invalid_argument, "--output must be used with human or json as argument.");
}

Task<OpenedImage> open_named(std::string name, OpenOptions options) {
  // What the user typed is theirs to open; the formats of this build follow no references.
  const OpenPolicy policy{.follow_references = true};
  Result<OpenedImage> opened = co_await open_image(name, std::move(options), policy).result();
  if (!opened) {
    const std::string context = "Could not open '" + name + "'";
    co_return fail(std::move(opened.error()).with_context(context));
  }
  co_return std::move(*opened);
}

void warn_of_guess(const std::string& name) {
  std::fflush(stdout);
  fmt::print(stderr,
             "WARNING: Image format was not specified for '{}' and probing guessed raw.\n"
             "         Automatically detecting the format is dangerous for raw images, write "
             "operations on block 0 will be restricted.\n"
             "         Specify the 'raw' format explicitly to remove the restrictions.\n",
             name);
}

Result<RawCreateArguments> parse_raw_options(const std::vector<CreateOption>& options) {
  RawCreateArguments parsed;
  for (const auto& [name, value] : options) {
    if (name == "size" || name == "extent_size_hint") {
      const Result<std::uint64_t> bytes = parse_size_option(value, name);
      if (!bytes) return fail(bytes.error().clone());
      (name == "size" ? parsed.size : parsed.extent_size_hint) = *bytes;
    } else if (name == "nocow") {
      const bool on = value == "on" || value == "yes" || value == "true" || value == "y";
      const bool off = value == "off" || value == "no" || value == "false" || value == "n";
      if (!on && !off) {
        return fail(ErrorKind::invalid_argument, "Parameter 'nocow' expects 'on' or 'off'");
      }
      parsed.no_cow = on;
      parsed.no_cow_text = value;
    } else if (name == "preallocation") {
      parsed.preallocation_text = value;
    } else {
      return fail(ErrorKind::invalid_argument, fmt::format("Invalid parameter '{}'", name));
    }
  }
  return parsed;
}

std::string_view raw_options_help(bool with_file) {
  if (!with_file) {
    return "Supported raw options:\n"
           "  size=<size>            - Virtual disk size\n"
           "\n"
           "The protocol level may support further options.\n"
           "Specify the target filename to include those options.\n";
  }
  return "Supported options:\n"
         "  extent_size_hint=<size> - Extent size hint for the image file, 0 to disable\n"
         "  nocow=<bool (on/off)>  - Turn off copy-on-write (valid only on btrfs)\n"
         "  preallocation=<str>    - Preallocation mode (allowed values: off, falloc, full)\n"
         "  size=<size>            - Virtual disk size\n";
}

Result<Preallocation> preallocation_of(const RawCreateArguments& arguments) {
  if (!arguments.preallocation_text) return Preallocation::off;
  const Result<Preallocation> mode = parse_preallocation(*arguments.preallocation_text);
  if (!mode) {
    return fail(ErrorKind::invalid_argument,
                "invalid parameter value: " + *arguments.preallocation_text);
  }
  if (*mode == Preallocation::metadata) {
    return fail(ErrorKind::unsupported, "Unsupported preallocation mode: metadata");
  }
  return *mode;
}

}  // namespace platter::cli
