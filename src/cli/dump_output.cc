#include "src/cli/dump_output.h"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace platter::cli {
namespace {

std::string json_string(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

struct JsonText {
  std::string operator()(Nothing) const { return "null"; }
  std::string operator()(std::uint64_t value) const { return std::to_string(value); }
  std::string operator()(Hex hex) const { return std::to_string(hex.value); }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(const std::string& text) const { return json_string(text); }
  std::string operator()(const std::vector<std::string>& list) const {
    std::string text;
    for (const std::string& item : list) text += (text.empty() ? "" : ", ") + json_string(item);
    return "[" + text + "]";
  }
};

// Bytes that would break a line, or a terminal, as \xNN.
std::string printable(const std::string& text) {
  std::string shown;
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte < 0x20 || byte == 0x7f) {
      shown += fmt::format("\\x{:02x}", byte);
    } else {
      shown += character;
    }
  }
  return shown;
}

struct PlainText {
  std::string operator()(Nothing) const { return "-"; }
  std::string operator()(std::uint64_t value) const { return std::to_string(value); }
  std::string operator()(Hex hex) const { return fmt::format("{:#x}", hex.value); }
  std::string operator()(bool value) const { return value ? "yes" : "no"; }
  std::string operator()(const std::string& text) const { return printable(text); }
  std::string operator()(const std::vector<std::string>& list) const {
    std::string text;
    for (const std::string& item : list) text += (text.empty() ? "" : "; ") + printable(item);
    return text.empty() ? "-" : text;
  }
};

bool is_empty_list(const DumpValue& value) {
  const auto* list = std::get_if<std::vector<std::string>>(&value);
  return list != nullptr && list->empty();
}

}  // namespace

void DumpOutput::begin() {
  if (json_) print_("{");
  depth_ = json_ ? 1 : 0;
  first_ = true;
}

void DumpOutput::end() {
  if (json_) print_("\n}\n");
}

void DumpOutput::open(std::string_view name, char bracket) {
  if (json_) {
    print_(fmt::format("{}\n{}\"{}\": {}", first_ ? "" : ",", indent(), name, bracket));
  } else {
    print_(fmt::format("{}{}:\n", indent(), name));
  }
  ++depth_;
  first_ = true;
}

void DumpOutput::close(char bracket) {
  --depth_;
  if (json_) print_(first_ ? std::string(1, bracket) : fmt::format("\n{}{}", indent(), bracket));
  first_ = false;
}

void DumpOutput::begin_section(std::string_view name) { open(name, '{'); }
void DumpOutput::end_section() { close('}'); }
void DumpOutput::begin_rows(std::string_view name) { open(name, '['); }
void DumpOutput::end_rows() { close(']'); }

void DumpOutput::field(std::string_view name, const DumpValue& value) {
  if (json_) {
    print_(fmt::format("{}\n{}\"{}\": {}", std::exchange(first_, false) ? "" : ",", indent(), name,
                       std::visit(JsonText(), value)));
  } else {
    print_(fmt::format("{}{}: {}\n", indent(), name, std::visit(PlainText(), value)));
  }
}

// For people, what says nothing is left out.
void DumpOutput::row(std::initializer_list<DumpField> fields) {
  ++rows_;
  std::string text;
  for (const DumpField& field : fields) {
    const bool silent = std::holds_alternative<Nothing>(field.value) || is_empty_list(field.value);
    if (json_) {
      text += fmt::format("{}\"{}\": {}", text.empty() ? "" : ", ", field.name,
                          std::visit(JsonText(), field.value));
    } else if (!silent) {
      text += fmt::format("{}{} {}", text.empty() ? "" : "  ", field.name,
                          std::visit(PlainText(), field.value));
    }
  }
  if (json_) {
    print_(fmt::format("{}\n{}{{ {} }}", std::exchange(first_, false) ? "" : ",", indent(), text));
  } else {
    print_(fmt::format("{}{}\n", indent(), text));
  }
}

}  // namespace platter::cli
