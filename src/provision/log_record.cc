#include "src/provision/log_record.h"

#include <bit>
#include <cctype>
#include <cstddef>
#include <type_traits>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace platter::provision {
namespace {

using Json = nlohmann::ordered_json;

// A value that could fill the disk is cut.
constexpr std::size_t kTextMax = 4096;

std::string time_text(std::chrono::system_clock::time_point time) {
  const auto since_epoch = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch - seconds);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(static_cast<std::time_t>(seconds.count())), ms.count());
}

std::string value_text(const LogValue& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<Held, double>) {
          return fmt::format("{:.3f}", held);
        } else if constexpr (std::is_arithmetic_v<Held>) {
          return fmt::format("{}", held);
        } else {
          return std::string(held.substr(0, kTextMax));
        }
      },
      value.value());
}

bool is_plain(std::string_view text) noexcept {
  for (const char c : text) {
    if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=') return false;
  }
  return !text.empty();
}

// No byte of it moves a terminal's cursor or starts another line.
std::string escaped(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.append("\\").push_back(c);
    } else if (c >= ' ' && c < 0x7f) {
      out.push_back(c);
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out + '"';
}

std::string text_fields(const LogRecord& record) {
  std::string text;
  for (const LogField& field : record.fields) {
    const std::string value = value_text(field.value);
    text += fmt::format(" {}={}", field.name.text(), is_plain(value) ? value : escaped(value));
  }
  return text;
}

Json json_value(const LogValue& value) {
  return std::visit(
      [](const auto& held) -> Json {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::is_arithmetic_v<Held>) {
          return held;
        } else {
          return std::string(held.substr(0, kTextMax));
        }
      },
      value.value());
}

// With a newline in the value its length must be said, in 64 bits, little-endian.
void add_journal_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name);
  if (value.find('\n') == value.npos) {
    out.append("=").append(value).append("\n");
    return;
  }
  out.append("\n");
  for (unsigned shift = 0; shift < 64; shift += 8) {
    out.push_back(static_cast<char>((value.size() >> shift) & 0xff));
  }
  out.append(value).append("\n");
}

std::string journal_name(std::string_view field) {
  std::string name = "PLATTER_";
  for (const char c : field) {
    name.push_back(static_cast<char>(std::toupper(static_cast<unsigned char>(c))));
  }
  return name;
}

// As of syslog(3).
std::string_view priority_of(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::debug: return "7";
    case LogLevel::info: return "6";
    case LogLevel::warning: return "4";
    case LogLevel::error: return "3";
  }
  return "3";
}

}  // namespace

std::string_view to_string(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::debug: return "debug";
    case LogLevel::info: return "info";
    case LogLevel::warning: return "warning";
    case LogLevel::error: return "error";
  }
  return "unknown";
}

std::string as_text(const LogRecord& record) {
  std::string text = fmt::format("{} {} {}", time_text(record.time), to_string(record.level),
                                 record.message.text());
  if (!record.operation.empty()) text += fmt::format(" op={}", record.operation);
  return text + text_fields(record) + '\n';
}

std::string as_json(const LogRecord& record) {
  Json object;
  object["time"] = time_text(record.time);
  object["level"] = to_string(record.level);
  object["message"] = record.message.text();
  if (!record.operation.empty()) object["operation"] = record.operation;
  for (const LogField& field : record.fields) {
    object[std::string(field.name.text())] = json_value(field.value);
  }
  // Bytes that are no UTF-8 are replaced: they come from file names.
  return object.dump(-1, ' ', true, Json::error_handler_t::replace) + '\n';
}

std::string as_journal(const LogRecord& record) {
  std::string out;
  add_journal_field(out, "MESSAGE", std::string(record.message.text()) + text_fields(record));
  add_journal_field(out, "PRIORITY", priority_of(record.level));
  add_journal_field(out, "SYSLOG_IDENTIFIER", "platter");
  if (!record.operation.empty()) add_journal_field(out, "PLATTER_OPERATION", record.operation);
  for (const LogField& field : record.fields) {
    add_journal_field(out, journal_name(field.name.text()), value_text(field.value));
  }
  return out;
}

}  // namespace platter::provision
