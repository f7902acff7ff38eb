// What the user should know although nothing failed.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace platter {

/// Receives one line without a newline. Any thread.
using NoticeHandler = std::function<void(std::string_view)>;

/// Process-wide; before any thread is started. By default notices go nowhere.
void set_notice_handler(NoticeHandler handler);

/// Tells `text`, once for each different text in the life of the process.
void notice_once(const std::string& text);

}  // namespace platter
