// Arguments that several verbs share.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/image.h"
#include "formats/image_name.h"
#include "formats/open.h"
#include "formats/snapshot_key.h"
#include "io/pipe.h"
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

/// Whether images of this format can be made. Errors: unknown_format, in qemu-img's words.
Result<void> check_target_format(const std::string& format);

/// `-l`: "snapshot.id=ID,snapshot.name=NAME", one of these, or an id or name alone.
/// Errors: invalid_argument, in qemu-img's words, after a line that says more.
Result<SnapshotKey> parse_snapshot(const std::string& text, const Context& context);

/// Whether `--output` asks for JSON. Errors: invalid_argument, in qemu-img's words.
Result<bool> wants_json(const Arguments& arguments);

/// What an operand means: options, with --image-opts; JSON; or a path. Prints warnings about
/// outdated forms. Errors: invalid_argument (also: options that go against `open`), in qemu-img's words.
Result<ImageName> given_name(const Context& context, const std::string& operand,
                             const OpenOptions& open);

/// The same, whatever the command line says of operands.
Result<ImageName> read_name(const Context& context, const std::string& text,
                            const OpenOptions& open, bool by_options);

/// "-", or a pipe that the shell hands over (/dev/fd/N): a way for bytes in order; null: another name.
/// Errors: wrong_type (a terminal), io.
Result<std::unique_ptr<PipeReader>> given_input_pipe(const std::string& name);
Result<std::unique_ptr<PipeWriter>> given_output_pipe(const std::string& name);

/// Opens an operand with all that the command line says of images (Context::images()), following
/// qemu-img's habits. Errors: those of given_name(), as they are; others begin with "Could not open
/// 'name'". What a verb opens, it opens by this.
Task<OpenedImage> open_given(const Context& context, std::string operand, OpenOptions options);
/// The same for what is not an operand, or was read already.
Task<OpenedImage> open_given_name(const Context& context, ImageName name, OpenOptions options);

/// qemu-img's warning about writing to an image that was only guessed to be raw.
void warn_of_guess(const std::string& name);

}  // namespace platter::cli
