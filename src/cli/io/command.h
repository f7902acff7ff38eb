// The commands of `platter io`: a table that looking up, parsing and help are made from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "io/task.h"
#include "src/cli/io/words.h"

namespace platter::cli {

class Session;

/// How a command went; what was wrong has been said.
enum class Outcome : std::uint8_t { done, failed };

struct Command {
  std::string_view name;
  std::string_view alias;         ///< one letter; empty: none
  std::string_view synopsis;      ///< of its words; empty: takes none
  std::string_view summary;       ///< one line
  std::string_view help = {};     ///< more lines; empty: there is no more to say
  std::string_view letters = {};  ///< options, see parse_words()
  std::size_t words_min = 0;      ///< after the name, options included
  std::size_t words_max = 0;
  bool takes_options = false;  ///< otherwise every word is an operand
  bool needs_image = true;
  bool writes = false;
  /// Errors end the session: cancelled. Everything else is said, and is an Outcome.
  Task<Outcome> (*run)(Session&, const Command&, Words);
};
inline constexpr std::size_t kAnyNumber = static_cast<std::size_t>(-1);

std::span<const Command> read_commands();
std::span<const Command> write_commands();
std::span<const Command> image_commands();
std::span<const Command> open_commands();
std::span<const Command> session_commands();

/// By name or alias; null where there is none.
const Command* find_command(std::string_view name);
/// "read [-q] off len -- reads ...\n": what is said of wrong use, and by help.
std::string usage_line(const Command& command);
/// The usage lines of all commands, by name.
std::string all_usage_lines();
/// Why a command can't have so many words; empty: it can. In qemu-io's words.
std::string wrong_count(const Command& command, std::string_view name, std::size_t count);

}  // namespace platter::cli
