// A server for the tests of templates, with many ways to misbehave.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "io/unique_fd.h"

namespace platter::test {

/// http_server.py, which says what each path does. Gone with this object.
class HttpServer {
 public:
  /// Serves `file`'s bytes; with a certificate and its key (PEM files): by TLS.
  explicit HttpServer(const std::string& file, std::vector<std::string> certificate_and_key = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// 0: it did not start.
  int port() const noexcept { return port_; }
  /// "http://127.0.0.1:PORT" and the path.
  std::string url(const std::string& path, const std::string& scheme = "http") const;

 private:
  pid_t process_ = -1;
  UniqueFd input_;  // the server ends with it
  int port_ = 0;
};

}  // namespace platter::test
