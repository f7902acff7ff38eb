// A folder that is gone after the test.
#pragma once

#include <string>
#include <string_view>

namespace platter::test {

/// A new folder below $TMPDIR (or /tmp), removed with all that is in it. Others may read it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const noexcept { return path_; }
  /// The path of `name` in it.
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

}  // namespace platter::test
