// What the tests of rings share: the engines to run on, and files that leave nothing behind.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "io/ring.h"
#include "io/unique_fd.h"

namespace platter::test {

/// The folder for temporary files.
inline std::string scratch_folder() {
  const char* folder = std::getenv("TMPDIR");
  return folder != nullptr && *folder != '\0' ? folder : "/tmp";
}

/// An open file without a name.
inline UniqueFd scratch_file() {
  std::string path = scratch_folder() + "/platter-test.XXXXXX";
  UniqueFd file(::mkostemp(path.data(), O_CLOEXEC));
  EXPECT_TRUE(file) << path;
  ::unlink(path.c_str());
  return file;
}

/// One way of doing I/O. The older kernels are this one with what they lack switched off.
struct EngineCase {
  std::string name;
  RingOptions options;
  friend std::ostream& operator<<(std::ostream& out, const EngineCase& engine) {
    return out << engine.name;
  }
};

inline std::vector<EngineCase> engine_cases() {
  constexpr RingEngineKind kUring = RingEngineKind::io_uring;
  return {
      {"IoUring", {.engine = kUring}},
      {"Linux60",
       {.engine = kUring,
        .allow = {.single_issuer = true,
                  .coop_taskrun = true,
                  .registered_files = true,
                  .registered_buffers = true}}},
      {"Linux519",
       {.engine = kUring,
        .allow = {.coop_taskrun = true, .registered_files = true, .registered_buffers = true}}},
      {"Linux515",
       {.engine = kUring, .allow = {.registered_files = true, .registered_buffers = true}}},
      {"NothingRegistered", {.engine = kUring, .allow = {}}},
      {"ShortQueue", {.engine = kUring, .depth = 4}},
      {"Threads", {.engine = RingEngineKind::threads}},
      {"OneThread", {.engine = RingEngineKind::threads, .threads = 1}},
  };
}

/// Runs a test on each engine; skips those that this machine forbids.
class RingEngines : public ::testing::TestWithParam<EngineCase> {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<Ring>> made = Ring::create(GetParam().options);
    if (!made && made.error().kind() == ErrorKind::unsupported) {
      GTEST_SKIP() << made.error().message();
    }
    ASSERT_TRUE(made) << made.error().message();
    ring_ = *std::move(made);
  }
  /// Only while no test runs a ring of its own.
  void TearDown() override { ring_.reset(); }

  Ring& ring() { return *ring_; }
  template <class T>
  Result<T> run(Task<T> task) {
    return ring_->run(std::move(task));
  }

 private:
  std::unique_ptr<Ring> ring_;
};

inline std::string engine_name(const ::testing::TestParamInfo<EngineCase>& suite) {
  return suite.param.name;
}

}  // namespace platter::test
