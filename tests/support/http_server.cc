#include "tests/support/http_server.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

extern char** environ;

namespace platter::test {

HttpServer::HttpServer(const std::string& file, std::vector<std::string> certificate_and_key) {
  int input[2];
  int output[2];
  if (::pipe2(input, O_CLOEXEC) != 0 || ::pipe2(output, O_CLOEXEC) != 0) return;
  input_ = UniqueFd(input[1]);
  const UniqueFd output_read(output[0]);
  {
    const UniqueFd input_read(input[0]);
    const UniqueFd output_write(output[1]);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, input[0], 0);
    ::posix_spawn_file_actions_adddup2(&actions, output[1], 1);
    std::vector<std::string> words{"python3", PLATTER_HTTP_SERVER, file};
    words.insert(words.end(), certificate_and_key.begin(), certificate_and_key.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    if (::posix_spawnp(&process_, "python3", &actions, nullptr, argv.data(), environ) != 0) {
      process_ = -1;
    }
    ::posix_spawn_file_actions_destroy(&actions);
  }
  std::string line;
  for (char c = 0; ::read(output_read.get(), &c, 1) == 1 && c != '\n';) line.push_back(c);
  port_ = std::atoi(line.c_str());
}

HttpServer::~HttpServer() {
  input_ = UniqueFd();
  if (process_ > 0) ::waitpid(process_, nullptr, 0);
}

std::string HttpServer::url(const std::string& path, const std::string& scheme) const {
  return scheme + "://127.0.0.1:" + std::to_string(port_) + path;
}

}  // namespace platter::test
