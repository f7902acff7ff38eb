// System calls that fail or end short, below everything that a DirectFile does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace platter::test {

/// Why this machine can't do it (it needs seccomp on x86-64), or nothing.
std::optional<std::string> no_syscall_faults();

enum class SyscallFault : std::uint8_t {
  fails,        ///< the error, and nothing is done
  half,         ///< reads and writes move half of the bytes, to a multiple of 512; others: no fault
  one_byte,     ///< reads and writes move one byte; others: no fault
  interrupted,  ///< EINTR
  try_again,    ///< EAGAIN for reads and writes; others: no fault
};

/// Counts this process' calls of pread, pwrite, fallocate, fdatasync, fsync, ftruncate,
/// sync_file_range and openat from 0, and makes the one with number `number` fault. For the rest
/// of the process' life: call it in a child, before it starts threads. io_uring is out of its
/// reach: use the engine of threads.
void fault_syscall(std::uint64_t number, SyscallFault fault, int os_error);

/// The same for each call with this probability in 256, by seed.
void fault_syscalls_sometimes(unsigned chance, std::uint64_t seed, SyscallFault fault,
                              int os_error);

/// While one lives, calls are neither counted nor harmed: for a look at what is really there.
class SyscallFaultsPaused {
 public:
  SyscallFaultsPaused() noexcept;
  ~SyscallFaultsPaused();
  SyscallFaultsPaused(const SyscallFaultsPaused&) = delete;
  SyscallFaultsPaused& operator=(const SyscallFaultsPaused&) = delete;
};

/// From now on: every call of this kind ends with `os_error`, for example SYS_fallocate.
void refuse_syscall(long syscall_number, int os_error);

std::uint64_t syscalls_counted() noexcept;
std::uint64_t syscalls_faulted() noexcept;
/// The latest one that was harmed, for example SYS_fallocate; or -1.
long last_faulted_syscall() noexcept;

}  // namespace platter::test
