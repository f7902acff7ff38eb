// Where io_uring is forbidden, as it is in many containers.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "io/ring.h"
#include "tests/io/ring_support.h"
#include "tests/support/in_child.h"

namespace platter {
namespace {

using test::in_child;
using test::scratch_file;

/// From now on the system call fails with this error in this process. For children.
void forbid(unsigned system_call, unsigned os_error) {
  std::array filter{
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, system_call, 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | os_error),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = filter.size(), .filter = filter.data()};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

Task<void> use_everything(Ring& ring, RingFile file) {
  Buffer out = co_await ring.buffers().acquire(8192);
  Buffer in = co_await ring.buffers().acquire(8192);
  std::fill_n(out.data(), out.size(), std::byte{0x5a});
  EXPECT_EQ(co_await ring.write(file, out.bytes(), 0), 8192);
  EXPECT_EQ(co_await ring.fdatasync(file), 0);
  EXPECT_EQ(co_await ring.read(file, in.bytes(), 0), 8192);
  EXPECT_EQ(in.data()[8191], std::byte{0x5a});
  EXPECT_EQ(co_await ring.fallocate(file, 0, 0, 65536), 0);
  struct ::statx status{};
  EXPECT_EQ(co_await ring.statx(file.fd, "", AT_EMPTY_PATH, STATX_SIZE, &status), 0);
  EXPECT_EQ(status.stx_size, 65536U);
  EXPECT_EQ(co_await ring.sleep(std::chrono::milliseconds(1)), 0);
  EXPECT_EQ(co_await ring.offload([] { return 3; }), 3);
  EXPECT_FALSE(ring.buffers().registered());
}

/// Checks the automatic choice and the explicit one under the filter; returns the reason given.
std::string check_fallback() {
  std::string reason;
  {
    Result<std::unique_ptr<Ring>> ring = Ring::create();
    EXPECT_TRUE(ring);
    if (!ring) return ring.error().message();
    EXPECT_EQ((*ring)->engine(), RingEngineKind::threads);
    const UniqueFd file = scratch_file();
    const int slot = (*ring)->register_file(file.get());
    EXPECT_EQ(slot, -1);
    EXPECT_TRUE((*ring)->run(use_everything(**ring, {.fd = file.get(), .slot = slot})));
    reason = (*ring)->fallback_reason();
  }
  Result<std::unique_ptr<Ring>> insisting = Ring::create({.engine = RingEngineKind::io_uring});
  EXPECT_FALSE(insisting);
  if (insisting) return "";
  EXPECT_EQ(insisting.error().kind(), ErrorKind::unsupported);
  EXPECT_EQ(insisting.error().message(), reason);
  return reason;
}

bool says(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  ADD_FAILURE() << "no '" << part << "' in: " << text;
  return false;
}

TEST(RingFallback, WhereSeccompForbidsIoUringAllWorksOnThreadsAndTheReasonSaysWhatToChange) {
  EXPECT_TRUE(in_child([] {
    forbid(SYS_io_uring_setup, EPERM);
    const std::string reason = check_fallback();
    EXPECT_TRUE(says(reason, "Operation not permitted"));
    EXPECT_TRUE(says(reason, "kernel.io_uring_disabled"));
    EXPECT_TRUE(says(reason, "seccomp"));
  }));
}

TEST(RingFallback, WhereTheKernelHasNoIoUringTheReasonSaysSo) {
  EXPECT_TRUE(in_child([] {
    forbid(SYS_io_uring_setup, ENOSYS);
    EXPECT_TRUE(says(check_fallback(), "the kernel is built without it"));
  }));
}

TEST(RingFallback, AlsoWhereOnlyTheUseOfARingIsForbidden) {
  EXPECT_TRUE(in_child([] {
    forbid(SYS_io_uring_enter, EPERM);
    EXPECT_TRUE(says(check_fallback(), "seccomp"));
  }));
  EXPECT_TRUE(in_child([] {
    forbid(SYS_io_uring_register, EPERM);
    EXPECT_TRUE(says(check_fallback(), "seccomp"));
  }));
}

TEST(RingFallback, WhereNoMoreThreadsMayBeStartedThoseThatThereAreDo) {
  EXPECT_TRUE(in_child([] {
    const std::unique_ptr<Ring> ring = Ring::create({.engine = RingEngineKind::threads}).value();
    const UniqueFd file = scratch_file();
    const RingFile target{.fd = file.get()};
    EXPECT_TRUE(ring->run(use_everything(*ring, target)));
    const rlimit none{.rlim_cur = 1, .rlim_max = 1};
    ASSERT_EQ(::setrlimit(RLIMIT_NPROC, &none), 0);
    test::become_nobody();  // root is exempt
    EXPECT_TRUE(ring->run(use_everything(*ring, target)));
  }));
}

}  // namespace
}  // namespace platter
