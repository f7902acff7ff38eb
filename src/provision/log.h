// The log: records of typed values, and operations that are told from each other.
#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "io/error.h"
#include "src/provision/log_sink.h"

namespace platter::provision {

/// Any thread. A record that the sink refuses is counted, and the next one that it takes has the count
/// as "lost": the log never makes an operation fail.
class Log {
 public:
  /// Records below `least` are dropped.
  explicit Log(std::unique_ptr<LogSink> sink, LogLevel least = LogLevel::info)
      : sink_(std::move(sink)), least_(least) {}

  void write(LogLevel level, LogWord message, std::initializer_list<LogField> fields = {}) {
    write(level, {}, message, fields);
  }
  bool wants(LogLevel level) const noexcept { return level >= least_; }
  /// Records that were refused since the last one that was not.
  std::uint64_t lost() const;

 private:
  friend class OperationLog;
  void write(LogLevel level, std::string_view operation, LogWord message,
             std::vector<LogField> fields);

  std::unique_ptr<LogSink> sink_;
  LogLevel least_;
  mutable std::mutex mutex_;
  std::uint64_t lost_ = 0;
};

/// What one operation has to say. Its records share an id of 16 hexadecimal digits; the last one has its
/// outcome, "duration_ms" and "bytes". One thread at a time; the log outlives it.
class OperationLog {
 public:
  /// A null log: nothing is written.
  OperationLog(Log* log, LogWord name, std::initializer_list<LogField> fields = {});
  /// Without finish(): a warning that it was abandoned.
  ~OperationLog();
  OperationLog(const OperationLog&) = delete;
  OperationLog& operator=(const OperationLog&) = delete;

  const std::string& id() const noexcept { return id_; }
  void note(LogLevel level, LogWord message, std::initializer_list<LogField> fields = {});
  void add_bytes(std::uint64_t count) noexcept { bytes_ += count; }
  /// Once. An error's kind and redacted message are in the record.
  void finish(const Result<void>& outcome);
  void finish_failed(const Error& error);

 private:
  void end(LogLevel level, LogWord message, const Error* error);

  Log* log_;
  LogWord name_;
  std::string id_;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  std::uint64_t bytes_ = 0;
  bool finished_ = false;
};

}  // namespace platter::provision
