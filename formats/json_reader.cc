#include "formats/json_reader.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <cstring>

#include <fmt/format.h>

namespace platter {
namespace {

constexpr unsigned kDepthMax = 64;
// Behind a backslash, and what they stand for.
constexpr std::string_view kLetters = "\"'\\/bfnrt";
constexpr std::string_view kMeant = "\"'\\/\b\f\n\r\t";

std::unexpected<Error> wrong(std::string_view what) {
  return fail(ErrorKind::invalid_argument, fmt::format("JSON parse error, {}", what));
}

// How many bytes the sequence has that begins with this one; 0: none does.
std::size_t utf8_length_of(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >> 5 == 0x06) return 2;
  if (first >> 4 == 0x0e) return 3;
  return first >> 3 == 0x1e ? 4 : 0;
}

// REQUIRES: one whole sequence.
std::uint32_t utf8_code(std::string_view sequence) {
  const auto first = static_cast<unsigned char>(sequence.front());
  std::uint32_t code = sequence.size() == 1 ? first : first & (0x7fU >> sequence.size());
  for (const char next : sequence.substr(1)) {
    code = code << 6 | (static_cast<unsigned char>(next) & 0x3fU);
  }
  return code;
}

// The length of the UTF-8 sequence that `text` begins with; 0: it is none.
std::size_t utf8_length(std::string_view text) {
  const std::size_t length = utf8_length_of(static_cast<unsigned char>(text.front()));
  if (length == 0 || length > text.size()) return 0;
  for (const char next : text.substr(1, length - 1)) {
    if (static_cast<unsigned char>(next) >> 6 != 2) return 0;
  }
  constexpr std::array<std::uint32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  const std::uint32_t code = utf8_code(text.substr(0, length));
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  return code < kSmallest[length] || code > 0x10ffff || surrogate ? 0 : length;
}

void append_utf8(std::string& text, std::uint32_t code) {
  if (code < 0x80) {
    text += static_cast<char>(code);
    return;
  }
  const unsigned more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  constexpr std::array<unsigned, 4> kLead = {0, 0xc0, 0xe0, 0xf0};
  text += static_cast<char>(kLead[more] | code >> (6 * more));
  for (unsigned i = more; i-- > 0;) text += static_cast<char>(0x80U | (code >> (6 * i) & 0x3fU));
}

class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  Result<JsonValue> read_all();

 private:
  enum class TokenKind : std::uint8_t { punctuation, string, number, keyword, end };
  struct Token {
    TokenKind kind = TokenKind::end;
    std::string text;
    bool is(char letter) const { return kind == TokenKind::punctuation && text[0] == letter; }
  };

  Result<Token> next();
  Result<Token> next_or_end();
  Result<Token> read_string();
  Result<Token> read_number();
  Result<std::string> unescape(std::string_view text) const;
  Result<std::uint32_t> read_unicode(std::string_view text, std::size_t& at) const;
  Result<JsonValue> read_value(const Token& token, unsigned depth);
  Result<JsonValue> read_object(unsigned depth);
  Result<JsonValue> read_array(unsigned depth);
  Result<void> read_member(const Token& name, JsonValue& object, unsigned depth);
  void skip_blanks() {
    const std::size_t blanks = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(std::min(blanks, rest_.size()));
  }

  std::string_view rest_;
};

Result<JsonValue> Reader::read_all() {
  const Result<Token> first = next_or_end();
  if (!first) return fail(first.error().clone());
  if (first->kind == TokenKind::end) {
    return fail(ErrorKind::invalid_argument, "Expecting a JSON value");
  }
  Result<JsonValue> value = read_value(*first, 0);
  if (!value) return value;
  skip_blanks();
  if (rest_.empty()) return value;
  return fail(ErrorKind::invalid_argument, "Expecting at most one JSON value");
}

Result<Reader::Token> Reader::next() {
  Result<Token> token = next_or_end();
  if (token && token->kind == TokenKind::end) return wrong("premature EOI");
  return token;
}

Result<Reader::Token> Reader::next_or_end() {
  skip_blanks();
  if (rest_.empty()) return Token();
  const char letter = rest_.front();
  if (std::strchr("{}[],:", letter) != nullptr) {
    rest_.remove_prefix(1);
    return Token{TokenKind::punctuation, std::string(1, letter)};
  }
  if (letter == '"' || letter == '\'') return read_string();
  if (letter == '-' || std::isdigit(static_cast<unsigned char>(letter)) != 0) return read_number();
  const auto lower = [](unsigned char c) { return std::islower(c) != 0; };
  const auto end = std::ranges::find_if_not(rest_, lower);
  if (end == rest_.begin()) return wrong(fmt::format("stray '{}'", letter));
  Token token{TokenKind::keyword, std::string(rest_.begin(), end)};
  rest_.remove_prefix(token.text.size());
  return token;
}

Result<Reader::Token> Reader::read_string() {
  const char quote = rest_.front();
  std::size_t end = 1;
  while (end < rest_.size() && rest_[end] != quote) {
    const auto letter = static_cast<unsigned char>(rest_[end]);
    const std::size_t length = utf8_length(rest_.substr(end));
    if (letter < 0x20 || length == 0) return wrong(fmt::format("stray '{}'", rest_.substr(0, end)));
    end += length;
    if (letter == '\\' && end < rest_.size()) ++end;
  }
  if (end >= rest_.size()) return wrong(fmt::format("stray '{}'", rest_));
  Result<std::string> text = unescape(rest_.substr(1, end - 1));
  if (!text) return fail(std::move(text.error()));
  rest_.remove_prefix(end + 1);
  return Token{TokenKind::string, *std::move(text)};
}

Result<std::string> Reader::unescape(std::string_view text) const {
  std::string result;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\') {
      result += text[at];
      continue;
    }
    const char letter = at + 1 < text.size() ? text[++at] : '\0';
    if (letter == 'u') {
      const Result<std::uint32_t> code = read_unicode(text, at);
      if (!code) return fail(code.error().clone());
      append_utf8(result, *code);
      continue;
    }
    const std::size_t which = kLetters.find(letter);
    if (which == std::string_view::npos) return wrong("invalid escape sequence in string");
    result += kMeant[which];
  }
  return result;
}

// From the "u" at `at` on; then `at` is on the last digit.
Result<std::uint32_t> Reader::read_unicode(std::string_view text, std::size_t& at) const {
  const std::size_t begin = at - 1;
  const auto unit = [text](std::size_t from) -> std::optional<std::uint32_t> {
    if (text.size() < from + 4) return std::nullopt;
    std::uint32_t value = 0;
    const char* first = text.data() + from;
    const auto [end, error] = std::from_chars(first, first + 4, value, 16);
    if (error != std::errc() || end != first + 4) return std::nullopt;
    return value;
  };
  std::optional<std::uint32_t> code = unit(at + 1);
  std::size_t last = at + 4;
  if (code && *code >= 0xd800 && *code < 0xdc00 && text.substr(at + 5).starts_with("\\u")) {
    const std::optional<std::uint32_t> low = unit(at + 7);
    last = at + 10;
    code = low && *low >= 0xdc00 && *low < 0xe000
               ? std::optional(0x10000 + ((*code - 0xd800) << 10) + (*low - 0xdc00))
               : std::nullopt;
  }
  if (!code || (*code >= 0xd800 && *code < 0xe000)) {
    return wrong(fmt::format("{} is not a valid Unicode character", text.substr(begin, 6)));
  }
  at = last;
  return *code;
}

Result<Reader::Token> Reader::read_number() {
  std::size_t at = 0;
  const auto digit = [&](std::size_t i) {
    return i < rest_.size() && std::isdigit(static_cast<unsigned char>(rest_[i])) != 0;
  };
  const auto digits = [&] {
    const std::size_t begin = at;
    while (digit(at)) ++at;
    return at > begin;
  };
  if (rest_[at] == '-') ++at;
  const std::size_t first = at;
  bool good = digits();
  if (good && rest_[first] == '0' && at > first + 1) {
    return wrong(fmt::format("stray '{}'", rest_.substr(0, first + 2)));
  }
  if (good && at < rest_.size() && rest_[at] == '.') {
    ++at;
    good = digits();
  }
  if (good && at < rest_.size() && (rest_[at] == 'e' || rest_[at] == 'E')) {
    ++at;
    if (at < rest_.size() && (rest_[at] == '+' || rest_[at] == '-')) ++at;
    good = digits();
  }
  if (!good) return wrong(fmt::format("stray '{}'", rest_.substr(0, at + 1)));
  Token token{TokenKind::number, std::string(rest_.substr(0, at))};
  rest_.remove_prefix(at);
  return token;
}

// Whole numbers that fit stay as they are; others are rounded as a double is, and shown as one.
std::string number_text(const std::string& text) {
  const bool whole = text.find_first_of(".eE") == std::string::npos;
  const bool fits = text.size() < 20;
  if (whole && fits) return text;
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return fmt::format("{:.17g}", value);
}

Result<JsonValue> Reader::read_value(const Token& token, unsigned depth) {
  using enum OptionValue::Kind;
  if (depth > kDepthMax) return wrong("nesting too deep");
  if (token.is('{')) return read_object(depth);
  if (token.is('[')) return read_array(depth);
  JsonValue value;
  switch (token.kind) {
    case TokenKind::string: value.scalar = {text, token.text}; return value;
    case TokenKind::number: value.scalar = {number, number_text(token.text)}; return value;
    case TokenKind::keyword:
      if (token.text == "true") value.scalar = {boolean, "on"};
      if (token.text == "false") value.scalar = {boolean, "off"};
      if (token.text == "null") value.scalar = {null, ""};
      if (value.scalar.kind != text) return value;
      return wrong(fmt::format("invalid keyword '{}'", token.text));
    case TokenKind::punctuation:
    case TokenKind::end: break;
  }
  return wrong("expecting value");
}

Result<JsonValue> Reader::read_object(unsigned depth) {
  JsonValue object{.scalar = {OptionValue::Kind::structure, ""}, .is_object = true, .members = {}};
  Result<Token> token = next();
  if (token && token->is('}')) return object;
  for (;;) {
    if (!token) return fail(std::move(token.error()));
    if (Result<void> read = read_member(*token, object, depth); !read) {
      return fail(std::move(read.error()));
    }
    token = next();
    if (!token) return fail(std::move(token.error()));
    if (token->is('}')) return object;
    if (!token->is(',')) return wrong("expected separator in dict");
    token = next();
  }
}

Result<void> Reader::read_member(const Token& name, JsonValue& object, unsigned depth) {
  // What can't be a value at all is told as such.
  const bool is_value = name.kind != TokenKind::punctuation || name.is('{') || name.is('[');
  if (!is_value) return wrong("expecting value");
  const Result<JsonValue> key = read_value(name, depth + 1);
  if (!key) return fail(key.error().clone());
  if (name.kind != TokenKind::string) return wrong("key is not a string in object");
  const Result<Token> colon = next();
  if (!colon) return fail(colon.error().clone());
  if (!colon->is(':')) return wrong("missing : in object pair");
  const Result<Token> first = next();
  if (!first) return fail(first.error().clone());
  Result<JsonValue> value = read_value(*first, depth + 1);
  if (!value) return fail(std::move(value.error()));
  for (const auto& [other, member] : object.members) {
    if (other == name.text) return wrong("duplicate key");
  }
  object.members.push_back({name.text, *std::move(value)});
  return {};
}

Result<JsonValue> Reader::read_array(unsigned depth) {
  JsonValue array{.scalar = {OptionValue::Kind::structure, ""}, .is_object = false, .members = {}};
  Result<Token> token = next();
  if (token && token->is(']')) return array;
  for (;;) {
    if (!token) return fail(std::move(token.error()));
    Result<JsonValue> value = read_value(*token, depth + 1);
    if (!value) return value;
    array.members.push_back({std::to_string(array.members.size()), *std::move(value)});
    token = next();
    if (!token) return fail(std::move(token.error()));
    if (token->is(']')) return array;
    if (!token->is(',')) return wrong("expected separator in list");
    token = next();
  }
}

}  // namespace

std::string json_quoted(std::string_view text) {
  std::string quoted = "\"";
  const auto unit = [&](std::uint32_t code) { quoted += fmt::format("\\u{:04X}", code); };
  while (!text.empty()) {
    const char letter = text.front();
    const std::size_t length = utf8_length(text);
    if (length > 1) {
      const std::uint32_t code = utf8_code(text.substr(0, length));
      if (code >= 0x10000) unit(0xd800 + ((code - 0x10000) >> 10));
      unit(code >= 0x10000 ? 0xdc00 + ((code - 0x10000) & 0x3ff) : code);
    } else if (length == 0) {
      unit(0xfffd);
    } else if (const std::size_t which = kMeant.find(letter);
               which < kMeant.size() && letter != '\'' && letter != '/') {
      quoted += {'\\', kLetters[which]};
    } else if (letter < 0x20 || letter == 0x7f) {
      unit(static_cast<unsigned char>(letter));
    } else {
      quoted += letter;
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return quoted + '"';
}

Result<JsonValue> read_json(std::string_view text) { return Reader(text).read_all(); }

}  // namespace platter
