// Arguments that several verbs share.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/image.h"
#include "formats/open.h"
#include "src/cli/arguments.h"
#include "src/cli/context.h"

namespace platter::cli {

/// What `-t` and `-T` name.
struct CacheMode {
  CacheUse use = CacheUse::direct_if_possible;
  Durability durability = Durability::on_flush;
};
/// none (off), writeback, writethrough, directsync, unsafe; nothing for another word.
std::optional<CacheMode> parse_cache_mode(std::string_view name);

/// Whether images of this format can be made. Errors: unknown_format, in qemu-img's words;
/// unsupported for what can only be read so far.
Result<void> check_target_format(const std::string& format);

/// Whether `--output` asks for JSON. Errors: invalid_argument, in qemu-img's words.
Result<bool> wants_json(const Arguments& arguments);

/// Opens an image as the user named it, following qemu-img's habits; errors begin with
/// "Could not open 'name'".
Task<OpenedImage> open_named(std::string name, OpenOptions options);

/// qemu-img's warning about writing to an image that was only guessed to be raw.
void warn_of_guess(const std::string& name);

/// What `-o` can say about a raw image.
struct RawCreateArguments {
  std::optional<std::uint64_t> size;
  /// Given last, as qemu-img prints it after "Formatting".
  std::optional<std::string> preallocation_text;
  std::optional<bool> no_cow;
  std::string no_cow_text;  ///< as given
  std::optional<std::uint64_t> extent_size_hint;
};
/// Errors: invalid_argument, in qemu-img's words.
Result<RawCreateArguments> parse_raw_options(const std::vector<CreateOption>& options);
/// The `-o help` text for raw; `with_file` says whether what files add is known.
std::string_view raw_options_help(bool with_file);
/// Decides what preallocation_text means. Errors: invalid_argument, in qemu-img's words.
Result<Preallocation> preallocation_of(const RawCreateArguments& arguments);

}  // namespace platter::cli
