#include "tests/support/in_child.h"

#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <iostream>

#include <gtest/gtest.h>

#include "io/check.h"

namespace platter::test {

bool in_child(const std::function<void()>& body) {
  std::cout.flush();
  std::fflush(nullptr);
  const pid_t child = ::fork();
  PLATTER_CHECK(child >= 0);
  if (child == 0) {
    body();
    std::cout.flush();
    std::fflush(nullptr);
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) PLATTER_CHECK(errno == EINTR);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void become_nobody() {
  constexpr unsigned kNobody = 65534;
  PLATTER_CHECK(::setgroups(0, nullptr) == 0);
  PLATTER_CHECK(::setresgid(kNobody, kNobody, kNobody) == 0);
  PLATTER_CHECK(::setresuid(kNobody, kNobody, kNobody) == 0);
}

}  // namespace platter::test
