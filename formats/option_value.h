// Values of options, as QEMU reads them and in its words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/error.h"

namespace platter {

/// The size that option `name` has. Errors: invalid_argument, too_large.
Result<std::uint64_t> parse_size_option(std::string_view text, std::string_view name);

/// A number in C's notation. Errors: invalid_argument, too_large.
Result<std::uint64_t> parse_number_option(const std::string& text, std::string_view name);

/// on, yes, true, y; off, no, false, n. Errors: invalid_argument.
Result<bool> parse_boolean_option(std::string_view text, std::string_view name);

/// Takes a value off the start, up to the next lone comma, which goes too; ",," is a comma.
std::string take_option_value(std::string_view& rest);

/// A name such as QEMU's objects and options have. Errors: invalid_argument, for the option `name`.
Result<void> check_identifier(std::string_view text, std::string_view name);

}  // namespace platter
