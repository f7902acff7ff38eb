// URLs as messages may show them.
#pragma once

#include <string>
#include <string_view>

namespace platter::provision {

/// True for "scheme://...", whatever the scheme.
bool looks_like_url(std::string_view text) noexcept;

/// Scheme, host, port and path: no user, no password, no query, no fragment. What can't be parsed shows
/// its scheme alone.
std::string redacted_url(std::string_view url);

/// A message in which each URL is cut like that. Where a URL could have secrets in it, what follows it is
/// dropped rather than guessed at.
std::string redacted_text(std::string_view text);

}  // namespace platter::provision
