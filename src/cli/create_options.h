// The options of `-o`: what a format takes, how values are read, shown and explained.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/secret_source.h"
#include "formats/image.h"
#include "formats/qcow2/create_options.h"
#include "io/error.h"
#include "io/file_attributes.h"
#include "src/cli/arguments.h"
#include "src/ops/create.h"

namespace platter::cli {

enum class ValueType : std::uint8_t { text, boolean, number, size };

struct CreateOptionType {
  std::string_view name;
  ValueType type;
  std::string_view help;
  std::string_view default_text = {};  ///< shown where nothing was given; empty: not shown
};

/// What was given of a format's options, the last value of each. All errors and texts are
/// qemu-img's.
class CreateOptionValues {
 public:
  /// Of raw, qcow2 and luks; and what the file below takes. REQUIRES: check_target_format(format).
  static CreateOptionValues of_format(std::string_view format);

  /// Of qcow2 and luks images that exist.
  static CreateOptionValues of_amendment(std::string_view format);
  /// Whether new images of these formats take these, without what the file below takes.
  static bool creates(std::string_view format, const std::vector<CreateOption>& given);

  /// Reads every value. Errors: invalid_argument (if it `suggests`: with the name that an unknown one
  /// is most like), too_large.
  Result<void> set(const std::vector<CreateOption>& given, bool suggests = false);
  /// For values that have options of their own (-b, the size).
  void set_text(std::string_view name, std::string value);
  void set_size(std::string_view name, std::uint64_t bytes);

  bool has(std::string_view name) const noexcept { return find(name) != nullptr; }
  /// One whose name begins so.
  bool has_any(std::string_view prefix) const noexcept;
  /// True if the format knows the option.
  bool knows(std::string_view name) const noexcept { return type_of(name) != nullptr; }
  std::optional<std::string> text(std::string_view name) const;
  std::optional<std::uint64_t> number(std::string_view name) const;  ///< numbers and sizes
  std::optional<bool> boolean(std::string_view name) const;

  /// Every option that is known, the format's own ones first.
  std::span<const CreateOptionType> types() const noexcept { return all_; }

  /// " name=value" for each that was given or has a default, as after "Formatting".
  std::string shown() const;
  /// The `-o help` text; `with_file`: what the file takes, too.
  std::string help(bool with_file) const;
  /// The same for `amend`.
  std::string amendment_help() const;

 private:
  struct Value {
    std::string_view name;
    std::string text;
    std::uint64_t number = 0;
  };
  CreateOptionValues(std::string_view format, std::span<const CreateOptionType> own,
                     std::span<const CreateOptionType> file);
  const CreateOptionType* type_of(std::string_view name) const noexcept;
  std::unexpected<Error> unknown(std::string_view name, bool suggests) const;
  const Value* find(std::string_view name) const noexcept;
  Value& value_of(const CreateOptionType& type);

  std::string_view format_;
  std::span<const CreateOptionType> own_;  // in the order in which they are shown
  std::vector<CreateOptionType> all_;      // own ones first
  std::vector<Value> values_;
};

/// The version that `compat` names. Errors: invalid_argument, in qemu-img's words for new images.
Result<unsigned> parse_compatibility(const std::string& compat);
/// What the file below is asked for.
FileAttributes attributes_of(const CreateOptionValues& values);
/// What the words mean, for raw images. Errors: invalid_argument, unsupported.
Result<Preallocation> raw_preallocation_of(const CreateOptionValues& values);
/// The same for qcow2; check() is still to be done. Errors: invalid_argument, unsupported
/// (encryption).
Result<qcow2::CreateOptions> qcow2_options_of(const CreateOptionValues& values);

/// The same for luks; the passphrase is one of `secrets`. Errors: invalid_argument, not_found.
Result<LuksCreateOptions> luks_options_of(const CreateOptionValues& values,
                                          const SecretProvider& secrets);

}  // namespace platter::cli
