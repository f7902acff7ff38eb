// Where the log goes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "io/error.h"
#include "io/unique_fd.h"
#include "src/provision/log_record.h"

namespace platter::provision {

/// One thread at a time. Never waits for long: a record that can't be taken is an error.
class LogSink {
 public:
  LogSink() = default;
  virtual ~LogSink() = default;
  LogSink(const LogSink&) = delete;
  LogSink& operator=(const LogSink&) = delete;

  virtual Result<void> write(const LogRecord& record) = 0;
};

enum class LogFormat : std::uint8_t { text, json };

/// Lines to a descriptor that the caller keeps open: each in one write(), so that several processes may
/// share it. Errors of write(): io.
std::unique_ptr<LogSink> descriptor_sink(int fd, LogFormat format);

inline constexpr const char* kJournalSocket = "/run/systemd/journal/socket";

/// The journal, natively. Errors: not_found (nothing listens there), permission, io; of write(): io (the
/// journal is behind, or the record is too large for one datagram).
Result<std::unique_ptr<LogSink>> journal_sink(const std::string& socket_path = kJournalSocket);

}  // namespace platter::provision
