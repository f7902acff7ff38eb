#include "tests/support/syscall_faults.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <vector>

#include "io/check.h"

namespace platter::test {
namespace {

// The calls that are counted, none of which has a sixth argument: a call that carries this in its
// place is the handler's own, and the filter lets it pass.
constexpr long kCounted[] = {SYS_pread64, SYS_pwrite64,  SYS_fallocate,       SYS_fdatasync,
                             SYS_fsync,   SYS_ftruncate, SYS_sync_file_range, SYS_openat};
constexpr std::uint32_t kOwn = 0x9d5a11e7;

// Set before the filter is; after that only the counters change, on any thread.
struct {
  std::uint64_t number = 0;
  unsigned chance = 0;
  std::uint64_t seed = 0;
  SyscallFault fault = SyscallFault::fails;
  int os_error = 0;
} g_plan;
std::atomic<std::uint64_t> g_count{0};
std::atomic<std::uint64_t> g_faults{0};
std::atomic<long> g_last{-1};
std::atomic<bool> g_paused{false};

bool chosen(std::uint64_t number) {
  if (g_plan.chance == 0) return number == g_plan.number;
  std::uint64_t mixed = (number + g_plan.seed) * 0x9e3779b97f4a7c15U;
  mixed = (mixed ^ (mixed >> 31U)) * 0xbf58476d1ce4e5b9U;
  return (mixed >> 56U) < g_plan.chance;
}

struct Call {
  long number;
  long arguments[5];

  long really() const {
    const long result = ::syscall(number, arguments[0], arguments[1], arguments[2], arguments[3],
                                  arguments[4], static_cast<unsigned long>(kOwn));
    return result < 0 ? -errno : result;
  }
};

void count_fault(const Call& call) {
  g_faults.fetch_add(1);
  g_last = call.number;
}

// The call with its fault, if it has one now; otherwise as it is.
long answer(Call call) {
  const bool transfers = call.number == SYS_pread64 || call.number == SYS_pwrite64;
  if (g_paused.load() || !chosen(g_count.fetch_add(1))) return call.really();
  switch (g_plan.fault) {
    case SyscallFault::fails: count_fault(call); return -g_plan.os_error;
    case SyscallFault::interrupted: count_fault(call); return -EINTR;
    case SyscallFault::try_again:
      if (!transfers) return call.really();
      count_fault(call);
      return -EAGAIN;
    case SyscallFault::half:
      if (transfers && call.arguments[2] >= 1024) {
        count_fault(call);
        call.arguments[2] = call.arguments[2] / 2 / 512 * 512;
      }
      return call.really();
    case SyscallFault::one_byte:
      // Direct I/O knows no single bytes: done whole, told short, as a device may.
      if (const long result = call.really(); !transfers || result < 1) {
        return result;
      }
      count_fault(call);
      return 1;
  }
  return -ENOSYS;
}

#ifdef __x86_64__
void on_sigsys(int, siginfo_t*, void* context) {
  const int saved = errno;
  auto* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const Call call{registers[REG_RAX],
                  {registers[REG_RDI], registers[REG_RSI], registers[REG_RDX], registers[REG_R10],
                   registers[REG_R8]}};
  registers[REG_RAX] = answer(call);
  errno = saved;
}
#endif

void install_filter(std::vector<sock_filter> code) {
  sock_fprog program{.len = static_cast<unsigned short>(code.size()), .filter = code.data()};
  PLATTER_CHECK(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  PLATTER_CHECK(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

sock_filter load(std::size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
}

void trap_counted_calls() {
#ifdef __x86_64__
  struct sigaction action{};
  action.sa_sigaction = on_sigsys;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  PLATTER_CHECK(::sigaction(SIGSYS, &action, nullptr) == 0);
#endif
  std::vector<sock_filter> code;
  code.push_back(load(offsetof(seccomp_data, args[5])));
  code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kOwn, 0, 1));
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  code.push_back(load(offsetof(seccomp_data, nr)));
  for (const long number : kCounted) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  install_filter(std::move(code));
}

}  // namespace

std::optional<std::string> no_syscall_faults() {
#ifdef __x86_64__
  if (::prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0) return "needs a kernel with seccomp";
  return std::nullopt;
#else
  return "needs an x86-64 machine";
#endif
}

void fault_syscall(std::uint64_t number, SyscallFault fault, int os_error) {
  g_plan = {.number = number, .chance = 0, .seed = 0, .fault = fault, .os_error = os_error};
  trap_counted_calls();
}

void fault_syscalls_sometimes(unsigned chance, std::uint64_t seed, SyscallFault fault,
                              int os_error) {
  g_plan = {.number = 0, .chance = chance, .seed = seed, .fault = fault, .os_error = os_error};
  trap_counted_calls();
}

SyscallFaultsPaused::SyscallFaultsPaused() noexcept { g_paused = true; }
SyscallFaultsPaused::~SyscallFaultsPaused() { g_paused = false; }

void refuse_syscall(long syscall_number, int os_error) {
  const auto number = static_cast<std::uint32_t>(syscall_number);
  const std::uint32_t action = SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(os_error);
  install_filter({load(offsetof(seccomp_data, nr)),
                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
                  BPF_STMT(BPF_RET | BPF_K, action), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)});
}

std::uint64_t syscalls_counted() noexcept { return g_count.load(); }
std::uint64_t syscalls_faulted() noexcept { return g_faults.load(); }
long last_faulted_syscall() noexcept { return g_last.load(); }

}  // namespace platter::test
