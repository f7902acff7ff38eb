#include "io/check.h"

#include <cstdio>
#include <cstdlib>

namespace platter {

void check_failed(const char* file, int line, const char* expression) noexcept {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, expression);
  std::abort();
}

}  // namespace platter
