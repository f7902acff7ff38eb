#include "crypto/lvm_error.h"

#include <algorithm>
#include <array>
#include <vector>

namespace platter {
namespace {

struct Phrase {
  std::string_view text;
  ErrorKind kind;
};

// The first that occurs decides, so what is said more precisely comes first.
constexpr std::array kPhrases = {
    Phrase{"Permission denied", ErrorKind::permission},
    Phrase{"Operation not permitted", ErrorKind::permission},
    Phrase{"already exists", ErrorKind::already_exists},
    Phrase{"insufficient free space", ErrorKind::no_space},
    Phrase{"Insufficient free space", ErrorKind::no_space},
    Phrase{"Insufficient suitable", ErrorKind::no_space},
    Phrase{"nsufficient free extents", ErrorKind::no_space},
    Phrase{"No space left", ErrorKind::no_space},
    Phrase{"Not enough free", ErrorKind::no_space},
    Phrase{"free space in volume group", ErrorKind::no_space},
    Phrase{"reached threshold", ErrorKind::no_space},
    Phrase{"in use", ErrorKind::in_use},
    Phrase{"is used by another device", ErrorKind::in_use},
    Phrase{"only while inactive", ErrorKind::in_use},
    Phrase{"Device or resource busy", ErrorKind::in_use},
    Phrase{"not found", ErrorKind::not_found},
    Phrase{"Failed to find", ErrorKind::not_found},
    Phrase{"is missing", ErrorKind::not_found},
    Phrase{"target support", ErrorKind::unsupported},
    Phrase{"device-mapper driver", ErrorKind::unsupported},
    Phrase{"not supported", ErrorKind::unsupported},
    Phrase{"read-only", ErrorKind::read_only},
    Phrase{"Read-only", ErrorKind::read_only},
    Phrase{"is reserved", ErrorKind::invalid_argument},
    Phrase{"reserved name", ErrorKind::invalid_argument},
    Phrase{"not larger than", ErrorKind::invalid_argument},
    Phrase{"matches existing size", ErrorKind::invalid_argument},
    Phrase{"Unable to reduce", ErrorKind::invalid_argument},
    Phrase{"is not a thin pool", ErrorKind::invalid_argument},
    Phrase{"nvalid", ErrorKind::invalid_argument},
};

constexpr int kInvalidParameters = 3;  // LVM2_INVALID_PARAMETERS

std::string_view trimmed(std::string_view line) {
  const std::size_t begin = line.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return line.substr(begin, line.find_last_not_of(" \t.") + 1 - begin);
}

}  // namespace

std::string lvm_error_text(std::string_view complaints) {
  std::vector<std::string_view> said;
  std::string text;
  while (!complaints.empty()) {
    const std::size_t end = std::min(complaints.find('\n'), complaints.size());
    const std::string_view line = trimmed(complaints.substr(0, end));
    complaints.remove_prefix(std::min(end + 1, complaints.size()));
    if (line.empty() || std::ranges::find(said, line) != said.end()) continue;
    said.push_back(line);
    text += (text.empty() ? "" : "; ") + std::string(line);
  }
  return text.empty() ? "LVM gave no reason" : text;
}

ErrorKind lvm_error_kind(std::string_view text, int code) noexcept {
  for (const Phrase& phrase : kPhrases) {
    if (text.contains(phrase.text)) return phrase.kind;
  }
  return code == kInvalidParameters ? ErrorKind::invalid_argument : ErrorKind::io;
}

}  // namespace platter
