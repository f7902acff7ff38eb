// What may be logged: values that say what they are. Secrets and free text are none.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "crypto/dm_crypt.h"
#include "io/error.h"

namespace platter::provision {

/// A word or sentence that is in the program's text: only literals convert.
class LogWord {
 public:
  template <std::size_t kSize>
  consteval LogWord(const char (&text)[kSize]) noexcept : text_(text, kSize - 1) {}  // NOLINT
  std::string_view text() const noexcept { return text_; }

 private:
  std::string_view text_;
};

/// A path as the caller gave it: never made absolute, never what a link leads to.
struct LogPath {
  explicit LogPath(std::string_view as_given) : text(as_given) {}
  std::string text;
};

/// Host and path; see redacted_url().
struct LogUrl {
  explicit LogUrl(std::string_view url);
  std::string text;
};

/// The name of a disk, an instance, a volume, a format: letters, digits and "._-+:", at most 255 of them.
/// Whatever else is in it, and so is no name, is left out.
struct LogName {
  explicit LogName(std::string_view name);
  std::string text;
};

/// One value of a record. What is not listed here can't be logged: strings above all, because nobody
/// knows what is in them, and keys. An error's message goes through redacted_text().
class LogValue {
 public:
  template <std::size_t kSize>
  consteval LogValue(const char (&text)[kSize]) noexcept
      : value_(LogWord(text).text()) {}  // NOLINT
  template <std::integral Int>
    requires(!std::same_as<Int, char> && !std::same_as<Int, bool>)
  constexpr LogValue(Int number) noexcept  // NOLINT: meant to be implicit, like those that follow
      : value_(make_number(number)) {}
  template <std::same_as<bool> Bool>
  constexpr LogValue(Bool value) noexcept : value_(value) {}  // NOLINT
  LogValue(LogWord word) noexcept : value_(word.text()) {}    // NOLINT
  LogValue(LogPath path) : value_(std::move(path.text)) {}    // NOLINT
  LogValue(LogUrl url) : value_(std::move(url.text)) {}       // NOLINT
  LogValue(LogName name) : value_(std::move(name.text)) {}    // NOLINT
  LogValue(const Error& error);                               // NOLINT
  LogValue(ErrorKind kind) : value_(to_string(kind)) {}       // NOLINT
  /// In milliseconds.
  template <class Rep, class Period>
  LogValue(std::chrono::duration<Rep, Period> time) noexcept  // NOLINT
      : value_(std::chrono::duration<double, std::milli>(time).count()) {}

  LogValue(const std::string&) = delete;
  LogValue(std::string_view) = delete;
  LogValue(const char*) = delete;
  LogValue(const void*) = delete;
  LogValue(KeyView) = delete;

  using Variant =
      std::variant<std::string_view, std::string, std::int64_t, std::uint64_t, double, bool>;
  /// A string_view is a literal's.
  const Variant& value() const noexcept { return value_; }

 private:
  template <class Int>
  static constexpr Variant make_number(Int number) noexcept {
    if constexpr (std::signed_integral<Int>) {
      return static_cast<std::int64_t>(number);
    } else {
      return static_cast<std::uint64_t>(number);
    }
  }
  Variant value_;
};

struct LogField {
  LogWord name;  ///< lower-case letters and '_'
  LogValue value;
};

}  // namespace platter::provision
