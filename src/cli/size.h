// Sizes as people write and read them, the way qemu-img has them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "formats/option_value.h"
#include "io/bytes.h"
#include "io/error.h"
#include "io/size_text.h"

namespace platter::cli {

using platter::parse_size;
using platter::parse_size_option;

/// parse_size() for a named command-line value of at most `max` bytes, with qemu-img's words:
/// "Invalid image size specified. ..." for `what` = "image size".
Result<std::uint64_t> parse_size_argument(std::string_view text, std::string_view what,
                                          std::string_view program,
                                          std::uint64_t max = kMaxFileSize);

/// A number without a suffix, of at most `max`, in C's notation (10, 0xa, 012). Errors:
/// invalid_argument, "Invalid request count specified" for `what` = "request count".
Result<std::uint64_t> parse_number_argument(const std::string& text, std::string_view what,
                                            std::uint64_t max);

/// Three significant digits and a binary unit: "1.5 GiB", "512 B".
std::string human_size(std::uint64_t bytes);

}  // namespace platter::cli
