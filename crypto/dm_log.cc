#include "crypto/dm_log.h"

#include <cstdarg>
#include <cstdio>

#include <libdevmapper.h>

#include "io/check.h"

namespace platter {
namespace {

constexpr int kLevelMask = 7;  // above it are flags
constexpr int kLevelError = 3;

DmLog* g_log = nullptr;

}  // namespace

void collect_dm_line(int level, const char* line) {
  if (g_log == nullptr || (level & kLevelMask) > kLevelError) return;
  if (g_log->errors_.ends_with(line)) return;  // what is tried again fails again
  if (!g_log->errors_.empty()) g_log->errors_ += "; ";
  g_log->errors_ += line;
}

extern "C" {

__attribute__((format(printf, 5, 6))) static void collect_dm_message(int level,
                                                                     const char* /*file*/,
                                                                     int /*line*/, int /*error*/,
                                                                     const char* format, ...) {
  char line[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  collect_dm_line(level, line);
}

}  // extern "C"

DmLog::DmLog() {
  PLATTER_CHECK(g_log == nullptr);
  g_log = this;
  dm_log_with_errno_init(collect_dm_message);
}

DmLog::~DmLog() {
  g_log = nullptr;  // the callback stays, and drops what comes
  // The descriptor that libdevmapper keeps would be handed on to children of this process.
  dm_hold_control_dev(0);
  dm_lib_release();
}

}  // namespace platter
