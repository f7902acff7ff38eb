#include "io/notice.h"

#include <mutex>
#include <set>

namespace platter {
namespace {

struct Notices {
  std::mutex mutex;
  NoticeHandler handler;
  std::set<std::string> told;
};
Notices& notices() {
  static Notices instance;
  return instance;
}

}  // namespace

void set_notice_handler(NoticeHandler handler) {
  std::lock_guard lock(notices().mutex);
  notices().handler = std::move(handler);
}

void notice_once(const std::string& text) {
  NoticeHandler handler;
  {
    std::lock_guard lock(notices().mutex);
    if (!notices().handler || !notices().told.insert(text).second) return;
    handler = notices().handler;
  }
  handler(text);  // without the lock: it may give a notice itself
}

}  // namespace platter
