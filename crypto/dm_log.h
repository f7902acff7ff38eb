// What libdevmapper says while it works. Internal to crypto/; the thread of crypto/dm_thread.h only.
#pragma once

#include <string>

namespace platter {

/// Collects libdevmapper's complaints while it lives; otherwise they would go to standard error. The
/// libraries above libdevmapper set its log to their own: so make one of these for each operation.
/// At its end libdevmapper gives up its descriptor. One at a time.
class DmLog {
 public:
  DmLog();
  ~DmLog();
  DmLog(const DmLog&) = delete;
  DmLog& operator=(const DmLog&) = delete;

  /// One line: all complaints, separated by "; ".
  const std::string& errors() const noexcept { return errors_; }

 private:
  friend void collect_dm_line(int level, const char* line);
  std::string errors_;
};

}  // namespace platter
