// What a mistyped word was meant to be.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace platter::cli {

/// How many letters were left out, put in, replaced, or swapped with their neighbour.
std::size_t typing_distance(std::string_view a, std::string_view b);

/// The candidate that `word` is most like: of those that it is the beginning of, the first; else the
/// nearest one, if no more than a third of the letters are wrong. Nothing for words of one letter.
std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string_view> candidates);

/// ". Did you mean 'convert'?" for the end of a message; nothing where nothing is near.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace platter::cli
