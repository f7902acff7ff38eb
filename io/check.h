// CHECK: a programmer's mistake ends the process, in every build. Bytes read from disk, options
// and anything else that comes from outside never reach a CHECK: they are a Result.
#pragma once

namespace platter {

/// Prints `file:line: CHECK failed: expression` to standard error and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* expression) noexcept;

}  // namespace platter

#define PLATTER_CHECK(condition)                       \
  (static_cast<bool>(condition) ? static_cast<void>(0) \
                                : ::platter::check_failed(__FILE__, __LINE__, #condition))
