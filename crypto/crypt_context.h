// A libcryptsetup context and what it says. Internal to crypto/; on the thread of crypto/dm_thread.h.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include <libcryptsetup.h>

#include "crypto/dm_log.h"
#include "io/error.h"

namespace platter {

class CryptContext {
 public:
  CryptContext() { crypt_set_log_callback(nullptr, collect, this); }
  ~CryptContext() {
    crypt_free(device_);
    crypt_set_log_callback(nullptr, drop, nullptr);
  }
  CryptContext(const CryptContext&) = delete;
  CryptContext& operator=(const CryptContext&) = delete;

  /// For a device. `what` is what a message says could not be done: "open '/dev/x'".
  Result<void> init(const std::string& device, std::string_view what) {
    const int result = crypt_init(&device_, device.c_str());
    if (result < 0) return error(result, what);
    listen();
    return {};
  }
  /// Where another crypt_init_...() puts the context; then listen().
  crypt_device** place() noexcept { return &device_; }
  void listen() { crypt_set_log_callback(device_, collect, this); }

  crypt_device* get() const noexcept { return device_; }
  /// Its complaints in one line, or nothing.
  const std::string& messages() const noexcept { return messages_; }

  /// The error for a negative errno value that a call returned.
  std::unexpected<Error> error(int result, std::string_view what) const {
    const std::string reason = messages_.empty() ? errno_text(-result) : messages_;
    ErrorKind kind =
        result == -ENODEV || result == -ENOTBLK ? ErrorKind::not_found : kind_of_errno(-result);
    if (result == -ENOTSUP) kind = ErrorKind::unsupported;
    return fail(kind, "Could not " + std::string(what) + ": " + reason);
  }

 private:
  static void collect(int level, const char* message, void* self) {
    if (level != CRYPT_LOG_ERROR) return;
    std::string& messages = static_cast<CryptContext*>(self)->messages_;
    std::string line = message;
    while (line.ends_with('\n') || line.ends_with('.')) line.pop_back();
    std::ranges::replace(line, '\n', ' ');
    if (messages.ends_with(line)) return;  // what is tried again fails again
    if (!messages.empty()) messages += "; ";
    messages += line;
  }
  static void drop(int /*level*/, const char* /*message*/, void* /*self*/) {}

  DmLog dm_log_;  // libdevmapper's own lines repeat what libcryptsetup says
  crypt_device* device_ = nullptr;
  std::string messages_;
};

}  // namespace platter
