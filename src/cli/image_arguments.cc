#include "src/cli/image_arguments.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "src/cli/option_values.h"

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
  if (std::ranges::find(format_names(), format) != format_names().end()) return {};
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

// The descriptor that a name means, if it is one for bytes in order.
std::optional<int> pipe_number(const std::string& name, int standard) {
  if (name == "-") return standard;
  constexpr std::string_view kFolder = "/dev/fd/";
  int number = -1;
  if (!name.starts_with(kFolder)) return std::nullopt;
  const char* const end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + kFolder.size(), end, number);
  if (error != std::errc() || rest != end) return std::nullopt;
  struct stat status{};
  const bool is_pipe = ::fstat(number, &status) == 0 && S_ISFIFO(status.st_mode);
  return is_pipe ? std::optional(number) : std::nullopt;
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

Result<ImageName> given_name(const Context& context, const std::string& operand,
                             const OpenOptions& open) {
  return read_name(context, operand, open, context.images().by_options);
}

Result<ImageName> read_name(const Context& context, const std::string& text,
                            const OpenOptions& open, bool by_options) {
  Result<ImageName> name = by_options ? read_options(text, open) : ImageName::of_user(text);
  if (!name) return name;
  for (const std::string& warning : name->warnings()) context.warning(warning);
  return name;
}

Result<std::unique_ptr<PipeReader>> given_input_pipe(const std::string& name) {
  const std::optional<int> fd = pipe_number(name, STDIN_FILENO);
  if (!fd) return nullptr;
  UniqueFd own(::fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!own) return fail_errno(errno, "open", name);
  return PipeReader::make(std::move(own), name);
}

Result<std::unique_ptr<PipeWriter>> given_output_pipe(const std::string& name) {
  const std::optional<int> fd = pipe_number(name, STDOUT_FILENO);
  if (!fd) return nullptr;
  UniqueFd own(::fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!own) return fail_errno(errno, "open", name);
  return PipeWriter::make(std::move(own), name);
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
