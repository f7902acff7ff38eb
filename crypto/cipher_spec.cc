#include "crypto/cipher_spec.h"

#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace platter {
namespace {

template <class Value>
struct Word {
  std::string_view text;
  Value value;
};

constexpr std::array kAlgorithms = {
    Word{"aes", CipherAlgorithm::aes}, Word{"serpent", CipherAlgorithm::serpent},
    Word{"twofish", CipherAlgorithm::twofish}, Word{"cast5", CipherAlgorithm::cast5}};
constexpr std::array kModes = {Word{"ecb", CipherMode::ecb}, Word{"cbc", CipherMode::cbc},
                               Word{"xts", CipherMode::xts}, Word{"ctr", CipherMode::ctr}};
constexpr std::array kGenerators = {Word{"", IvGenerator::none}, Word{"plain", IvGenerator::plain},
                                    Word{"plain64", IvGenerator::plain64},
                                    Word{"essiv", IvGenerator::essiv}};

template <class Words>
auto find(const Words& words, std::string_view text) {
  for (const auto& word : words) {
    if (word.text == text) return std::optional(word.value);
  }
  return decltype(std::optional(words.front().value))();
}

template <class Words, class Value>
std::string_view text_of(const Words& words, Value value) {
  for (const auto& word : words) {
    if (word.value == value) return word.text;
  }
  return "?";
}

// Text up to the delimiter, which is dropped with it.
std::string_view take_until(std::string_view& rest, char delimiter) {
  const std::size_t end = rest.find(delimiter);
  const std::string_view taken = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return taken;
}

}  // namespace

std::string_view to_string(CipherAlgorithm algorithm) noexcept {
  return text_of(kAlgorithms, algorithm);
}
std::string_view to_string(CipherMode mode) noexcept { return text_of(kModes, mode); }
std::string_view to_string(IvGenerator generator) noexcept {
  return text_of(kGenerators, generator);
}

std::string CipherSpec::mode_text() const {
  std::string text(to_string(mode));
  if (iv == IvGenerator::none) return text;
  text += fmt::format("-{}", to_string(iv));
  if (iv == IvGenerator::essiv) text += ":" + iv_hash;
  return text;
}

Result<CipherSpec> parse_cipher_spec(std::string_view name, std::string_view mode,
                                     std::size_t key_size) {
  std::string_view rest = mode;
  const auto algorithm = find(kAlgorithms, name);
  const auto cipher_mode = find(kModes, take_until(rest, '-'));
  const std::string_view generator = take_until(rest, ':');
  const auto iv = find(kGenerators, generator);
  if (!algorithm || !cipher_mode || !iv) {
    return fail(ErrorKind::unsupported, fmt::format("Cipher '{}-{}' is not supported", name, mode));
  }
  const std::size_t keys = *cipher_mode == CipherMode::xts ? 2 : 1;
  if (key_size % keys != 0 || key_size > 64) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("Cipher '{}-{}' has no keys of {} bytes", name, mode, key_size));
  }
  CipherSpec spec{.algorithm = *algorithm,
                  .key_bits = static_cast<unsigned>(key_size / keys * 8),
                  .mode = *cipher_mode,
                  .iv = *iv};
  if (spec.mode == CipherMode::ecb) {
    spec.iv = IvGenerator::none;
  } else if (spec.iv == IvGenerator::none) {
    spec.iv = IvGenerator::plain;
  }
  if (spec.iv == IvGenerator::essiv) spec.iv_hash = rest;
  if (auto checked = check_cipher_spec(spec); !checked) return fail(std::move(checked.error()));
  return spec;
}

Result<void> check_cipher_spec(const CipherSpec& spec) {
  const std::string text = fmt::format("{}-{}", to_string(spec.algorithm), spec.mode_text());
  const bool cast5 = spec.algorithm == CipherAlgorithm::cast5;
  const bool fits = cast5 ? spec.key_bits == 128
                          : spec.key_bits == 128 || spec.key_bits == 192 || spec.key_bits == 256;
  if (!fits) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("Cipher '{}' has no keys of {} bytes", text, spec.key_size()));
  }
  if (cast5 && spec.mode == CipherMode::xts) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("Cipher '{}' is impossible: xts needs blocks of 16 bytes", text));
  }
  if (spec.iv == IvGenerator::essiv && spec.iv_hash.empty()) {
    return fail(ErrorKind::invalid_argument, fmt::format("Cipher '{}' lacks essiv's hash", text));
  }
  return {};
}

}  // namespace platter
