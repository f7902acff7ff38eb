// The options of block nodes, as QEMU's command line has them: what to open, and how.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/error.h"

namespace platter {

/// A value and what it was given as: JSON tells numbers from strings, and shows them so again.
struct OptionValue {
  enum class Kind : std::uint8_t { text, number, boolean, null, structure };
  Kind kind = Kind::text;
  std::string text;  ///< on or off for a boolean; nothing for null and an empty structure
};

/// Keys with dots ("file.filename") and their values, in the order in which they came, each once.
/// Whoever opens a node takes out what it knows: what is left then is an error.
class BlockOptions {
 public:
  /// "driver=qcow2,file.filename=disk", where ",," is a comma. The first word may be a value alone:
  /// that of "file". A later word without a value is on (or, as "noNAME", off).
  /// Errors: invalid_argument, in QEMU's words.
  static Result<BlockOptions> from_text(std::string_view text);
  /// A JSON object; objects and arrays within it become keys with dots.
  /// Errors: invalid_argument, in QEMU's words.
  static Result<BlockOptions> from_json(std::string_view text);
  /// The node (of any format if none is named) on the file at this path.
  static BlockOptions of_path(std::string path, const std::string& format);

  /// Puts a value in place of one that is there.
  void set(std::string key, OptionValue value);
  bool empty() const noexcept { return options_.empty(); }
  const std::vector<std::pair<std::string, OptionValue>>& all() const noexcept { return options_; }
  bool has(std::string_view key) const noexcept { return find(key) != nullptr; }
  const OptionValue* find(std::string_view key) const noexcept;
  /// True if there is a key "name.something".
  bool has_child(std::string_view name) const noexcept;

  /// Takes the option out. A text alone; another kind of value stays.
  std::optional<std::string> take_text(std::string_view key);
  /// Takes the option out, whatever it is. Null is as good as absent.
  std::optional<OptionValue> take(std::string_view key);
  /// Errors: invalid_argument, too_large, in QEMU's words.
  Result<std::optional<bool>> take_boolean(std::string_view key);
  Result<std::optional<std::uint64_t>> take_size(std::string_view key);
  /// Takes all "name.something" out, as options of their own.
  BlockOptions take_child(std::string_view name);

  /// What is outdated in what was given: lines for people.
  const std::vector<std::string>& warnings() const noexcept { return warnings_; }

 private:
  Result<void> read_word(std::string_view& rest, bool first);
  void warn_of_empty_backing();

  std::vector<std::pair<std::string, OptionValue>> options_;
  std::vector<std::string> warnings_;
};

}  // namespace platter
