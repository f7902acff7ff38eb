// Which format an image's first bytes speak of.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace platter {

/// How many bytes from the start probe_format() wants to see; an image may be shorter.
inline constexpr std::size_t kProbeSize = 2048;

/// The name of the format whose signature `head` carries; "raw" where there is none. Knows more
/// formats than platter opens, so that none of them is mistaken for raw.
std::string_view probe_format(std::span<const std::byte> head) noexcept;

}  // namespace platter
