#include "tests/support/temp_dir.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "io/check.h"

namespace platter::test {

TempDir::TempDir() {
  const char* parent = std::getenv("TMPDIR");
  path_ = std::string(parent != nullptr && *parent != '\0' ? parent : "/tmp") + "/platter-XXXXXX";
  PLATTER_CHECK(::mkdtemp(path_.data()) != nullptr);
  PLATTER_CHECK(::chmod(path_.c_str(), 0755) == 0);
}

TempDir::~TempDir() {
  std::error_code ignored;  // a test that leaves a mount here has failed already
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace platter::test
