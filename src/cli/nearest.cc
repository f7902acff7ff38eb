#include "src/cli/nearest.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace platter::cli {
namespace {

// The table grows with the square of it, and no verb or option is as long.
constexpr std::size_t kLongest = 64;

}  // namespace

std::size_t typing_distance(std::string_view a, std::string_view b) {
  // Rows of the usual table: the distances between the first letters of a and those of b.
  std::vector<std::size_t> before_last;
  std::vector<std::size_t> last(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::vector<std::size_t> row(b.size() + 1, i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = std::move(last);
    last = std::move(row);
  }
  return last[b.size()];
}

std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string_view> candidates) {
  if (word.size() < 2 || word.size() > kLongest) return std::nullopt;
  const auto longer = std::ranges::find_if(
      candidates, [word](std::string_view candidate) { return candidate.starts_with(word); });
  if (longer != candidates.end()) return *longer;
  std::optional<std::string_view> best;
  std::size_t fewest = std::max<std::size_t>(word.size() / 3, 1) + 1;
  for (const std::string_view candidate : candidates) {
    const std::size_t wrong = typing_distance(word, candidate);
    if (wrong >= fewest) continue;
    fewest = wrong;
    best = candidate;
  }
  return best;
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
  const std::optional<std::string_view> meant = nearest(word, candidates);
  return meant ? fmt::format(". Did you mean '{}'?", *meant) : "";
}

}  // namespace platter::cli
