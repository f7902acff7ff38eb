// Errors are values: Result<T> is std::expected<T, Error>. No exception crosses platter's code and
// no error is dropped.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace platter {

/// What callers branch on. Stable: values are added, never renamed or reused.
enum class ErrorKind : std::uint8_t {
  io,                 ///< the device or the filesystem failed
  not_found,          ///< a file, folder or named thing does not exist
  already_exists,     ///< it exists and must not
  permission,         ///< the process has no right to do this
  no_space,           ///< the device, the quota or a fixed-size target is full
  read_only,          ///< the target cannot be written: filesystem, device or open mode
  in_use,             ///< another process holds a conflicting lock
  unsupported,        ///< this kernel, filesystem, device or build cannot do it
  invalid_argument,   ///< the caller asked for something that makes no sense
  wrong_type,         ///< a folder, FIFO, socket or character device where a file is needed
  too_large,          ///< a size or offset is over what the format or the file allows
  out_of_bounds,      ///< an access past the end
  file_changed,       ///< a file changed under us: it shrank, or its name points elsewhere now
  corrupt_image,      ///< bytes of the image contradict its format
  unknown_format,     ///< no driver by that name, or no format matches
  refused_by_policy,  ///< the OpenPolicy forbids it
  out_of_memory,      ///< the kernel or a memory limit refused memory
  cancelled,          ///< the caller asked to stop
  timed_out,          ///< another side (a server, a program, a lock's holder) took too long
  wrong_digest,       ///< what came is whole, and not what was expected
};

/// The stable name of a kind, e.g. "no_space".
std::string_view to_string(ErrorKind kind) noexcept;

/// The kind that an errno value means when nothing better is known.
ErrorKind kind_of_errno(int os_error) noexcept;

/// One failure: a kind for programs, a sentence for people. Movable; copied only by clone().
class [[nodiscard]] Error {
 public:
  /// A failure that platter found itself.
  Error(ErrorKind kind, std::string message);
  /// A failed system call: kind from `os_error` (a positive errno value).
  static Error from_errno(int os_error, std::string_view operation, std::string_view path = {},
                          std::optional<std::uint64_t> offset = std::nullopt);

  Error(Error&&) noexcept = default;
  Error& operator=(Error&&) noexcept = default;
  Error clone() const;

  ErrorKind kind() const noexcept { return kind_; }
  /// The errno value behind it, or 0.
  int os_error() const noexcept { return os_error_; }
  /// "read", "open", ... or empty.
  std::string_view operation() const noexcept;
  /// The file as its caller named it, or empty.
  std::string_view path() const noexcept;
  /// Byte offset in that file.
  std::optional<std::uint64_t> offset() const noexcept;
  /// One line without a final period (QEMU's two for a conflict of image locks): "Could not read 'a.img' at offset 4096: Input/output error".
  std::string message() const;
  /// The last part of message(): the reason alone, "Input/output error".
  std::string reason() const;

  /// Puts "context: " in front of message(). Kind, errno and place stay.
  Error&& with_context(std::string_view context) &&;

 private:
  struct Details {
    std::string operation;
    std::string path;
    std::optional<std::uint64_t> offset;
    std::string context;  // "outer: inner: ", or empty
    std::string message;  // platter's own words; empty for a failed system call
  };
  Error() = default;

  ErrorKind kind_ = ErrorKind::io;
  int os_error_ = 0;
  std::unique_ptr<Details> details_;
};

template <class T>
using Result = std::expected<T, Error>;

/// `return fail(ErrorKind::too_large, "...")` in a function that returns a Result or a Task.
inline std::unexpected<Error> fail(ErrorKind kind, std::string message) {
  return std::unexpected<Error>(std::in_place, kind, std::move(message));
}
inline std::unexpected<Error> fail(Error error) { return std::unexpected<Error>(std::move(error)); }
/// `return fail_errno(errno, "open", path)`.
inline std::unexpected<Error> fail_errno(int os_error, std::string_view operation,
                                         std::string_view path = {},
                                         std::optional<std::uint64_t> offset = std::nullopt) {
  return std::unexpected<Error>(Error::from_errno(os_error, operation, path, offset));
}

/// The text of an errno value in the C locale's words; thread-safe.
std::string errno_text(int os_error);

}  // namespace platter
