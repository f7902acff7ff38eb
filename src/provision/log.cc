#include "src/provision/log.h"

#include <sys/random.h>

#include <utility>

#include <fmt/format.h>

namespace platter::provision {
namespace {

std::string new_id() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number)) {
    // Early at boot: the clock tells operations from each other, too.
    number =
        static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  }
  return fmt::format("{:016x}", number);
}

}  // namespace

void Log::write(LogLevel level, std::string_view operation, LogWord message,
                std::vector<LogField> fields) {
  if (!wants(level)) return;
  LogRecord record{.time = std::chrono::system_clock::now(),
                   .level = level,
                   .operation = std::string(operation),
                   .message = message,
                   .fields = std::move(fields)};
  const std::scoped_lock lock(mutex_);
  if (lost_ != 0) record.fields.push_back({"lost", lost_});
  if (sink_->write(record)) {
    lost_ = 0;
  } else {
    ++lost_;
  }
}

std::uint64_t Log::lost() const {
  const std::scoped_lock lock(mutex_);
  return lost_;
}

OperationLog::OperationLog(Log* log, LogWord name, std::initializer_list<LogField> fields)
    : log_(log), name_(name), id_(new_id()) {
  if (log_ == nullptr) return;
  std::vector<LogField> all{{"operation_name", name_}};
  all.insert(all.end(), fields);
  log_->write(LogLevel::debug, id_, "begun", std::move(all));
}

OperationLog::~OperationLog() {
  if (!finished_) end(LogLevel::warning, "abandoned", nullptr);
}

void OperationLog::note(LogLevel level, LogWord message, std::initializer_list<LogField> fields) {
  if (log_ != nullptr) log_->write(level, id_, message, std::vector<LogField>(fields));
}

void OperationLog::finish(const Result<void>& outcome) {
  if (outcome) {
    end(LogLevel::info, "done", nullptr);
  } else {
    finish_failed(outcome.error());
  }
}

void OperationLog::finish_failed(const Error& error) { end(LogLevel::error, "failed", &error); }

void OperationLog::end(LogLevel level, LogWord message, const Error* error) {
  finished_ = true;
  if (log_ == nullptr) return;
  std::vector<LogField> fields{{"operation_name", name_}};
  fields.push_back({"duration_ms", std::chrono::steady_clock::now() - begun_});
  fields.push_back({"bytes", bytes_});
  if (error != nullptr) {
    fields.push_back({"kind", error->kind()});
    fields.push_back({"error", *error});
  }
  log_->write(level, id_, message, std::move(fields));
}

}  // namespace platter::provision
