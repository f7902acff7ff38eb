#include "src/cli/image_arguments.h"

#include <cstdio>
#include <utility>

#include <fmt/format.h>

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
  if (format == "raw" || format == "qcow2") return {};
  return fail(ErrorKind::unknown_format, fmt::format("Unknown file format '{}'", format));
}

Result<SnapshotKey> parse_snapshot(const std::string& text, const Context& context) {
  if (!text.starts_with("snapshot.")) return SnapshotKey::id_or_name(text);
  const Result<std::vector<CreateOption>> options = parse_create_options({text});
  SnapshotKey key;
  std::string unknown;
  if (!options) return fail(options.error().clone());
  for (const CreateOption& option : *options) {
    if (option.name == "snapshot.id") {
      key.id = option.value;
    } else if (option.name == "snapshot.name") {
      key.name = option.value;
    } else if (unknown.empty()) {
      unknown = option.name;
    }
  }
  if (unknown.empty()) return key;
  context.error(fmt::format("Invalid parameter '{}'", unknown));
  return fail(ErrorKind::invalid_argument,
              fmt::format("Failed in parsing snapshot param '{}'", text));
}

Result<bool> wants_json(const Arguments& arguments) {
  const std::string output = arguments.value("output", "human");
  if (output == "json") return true;
  if (output == "human") return false;
  return fail(ErrorKind::invalid_argument, "--output must be used with human or json as argument.");
}

namespace {

Task<OpenedImage> open_under(ImageName name, OpenOptions options, OpenPolicy policy) {
  Result<OpenedImage> opened =
      co_await open_image(name, std::move(options), std::move(policy)).result();
  if (!opened) {
    const std::string context = "Could not open '" + name.text() + "'";
    co_return fail(std::move(opened.error()).with_context(context));
  }
  co_return std::move(*opened);
}

Result<ImageName> read_options(const std::string& operand, const OpenOptions& open) {
  if (!open.format.empty()) {
    return fail(ErrorKind::invalid_argument, "--image-opts and --format are mutually exclusive");
  }
  Result<ImageName> name = ImageName::of_options(operand);
  if (!name || !open.force_share) return name;
  const Result<BlockOptions> options = name->options();
  const OptionValue* const value = options ? options->find("force-share") : nullptr;
  if (value == nullptr || value->text == "on") return name;
  return fail(ErrorKind::invalid_argument, "--force-share/-U conflicts with image options");
}

}  // namespace

Task<OpenedImage> open_named(std::string name, OpenOptions options) {
  return open_under(std::move(name), std::move(options), ImageAccess().policy);
}

Result<ImageName> given_name(const Context& context, const std::string& operand,
                             const OpenOptions& open) {
  Result<ImageName> name =
      context.images().by_options ? read_options(operand, open) : ImageName::of_user(operand);
  if (!name) return name;
  for (const std::string& warning : name->warnings()) context.warning(warning);
  return name;
}

Task<OpenedImage> open_given(const Context& context, std::string operand, OpenOptions options) {
  ImageName name = co_await given_name(context, operand, options);
  co_return co_await open_given_name(context, std::move(name), std::move(options));
}

Task<OpenedImage> open_given_name(const Context& context, ImageName name, OpenOptions options) {
  return open_under(std::move(name), std::move(options), context.images().policy);
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

}  // namespace platter::cli
