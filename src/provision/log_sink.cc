#include "src/provision/log_sink.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>

namespace platter::provision {
namespace {

class DescriptorSink final : public LogSink {
 public:
  DescriptorSink(int fd, LogFormat format) noexcept : fd_(fd), format_(format) {}

  Result<void> write(const LogRecord& record) override {
    const std::string line = format_ == LogFormat::json ? as_json(record) : as_text(record);
    for (std::string_view rest = line; !rest.empty();) {
      const ssize_t count = ::write(fd_, rest.data(), rest.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return fail_errno(count < 0 ? errno : EIO, "write", "the log");
      rest.remove_prefix(static_cast<std::size_t>(count));
    }
    return {};
  }

 private:
  int fd_;
  LogFormat format_;
};

class JournalSink final : public LogSink {
 public:
  explicit JournalSink(UniqueFd socket) noexcept : socket_(std::move(socket)) {}

  Result<void> write(const LogRecord& record) override {
    const std::string datagram = as_journal(record);
    ssize_t count = -1;
    do {
      count = ::send(socket_.get(), datagram.data(), datagram.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (count < 0 && errno == EINTR);
    if (count < 0) return fail_errno(errno, "write", "the journal");
    return {};
  }

 private:
  UniqueFd socket_;
};

}  // namespace

std::unique_ptr<LogSink> descriptor_sink(int fd, LogFormat format) {
  return std::make_unique<DescriptorSink>(fd, format);
}

Result<std::unique_ptr<LogSink>> journal_sink(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof(address.sun_path)) {
    return fail_errno(ENAMETOOLONG, "connect", socket_path);
  }
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno(errno, "socket", socket_path);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  if (::connect(socket.get(), generic, sizeof(address)) != 0) {
    return fail_errno(errno, "connect", socket_path);
  }
  return std::make_unique<JournalSink>(std::move(socket));
}

}  // namespace platter::provision
