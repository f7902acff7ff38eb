// One record of the log, and how it reads.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/provision/log_value.h"

namespace platter::provision {

enum class LogLevel : std::uint8_t { debug, info, warning, error };
/// "debug", ...
std::string_view to_string(LogLevel level) noexcept;

struct LogRecord {
  std::chrono::system_clock::time_point time;
  LogLevel level = LogLevel::info;
  std::string operation;  ///< its id; empty: of none
  LogWord message;
  std::vector<LogField> fields;
};

/// "2026-01-31T12:00:00.123Z info fetched op=0f3a bytes=12 source=\"a b\"\n": one line, whatever the values
/// hold; what is not printable is escaped.
std::string as_text(const LogRecord& record);
/// One JSON object and a newline: "time", "level", "message", "operation", and the fields.
std::string as_json(const LogRecord& record);
/// In the journal's native protocol (systemd: "Native Journal Protocol"): MESSAGE, PRIORITY,
/// SYSLOG_IDENTIFIER, PLATTER_OPERATION, and PLATTER_ before each field's name.
std::string as_journal(const LogRecord& record);

}  // namespace platter::provision
