// One request to the kernel, and the awaiter that carries it.
#pragma once

#include <linux/time_types.h>
#include <sys/uio.h>

#include <coroutine>
#include <cstddef>
#include <cstdint>

struct statx;

namespace platter {

/// A descriptor that is open on this process, and its slot in the ring's table of registered
/// files, or -1. Not owned.
struct RingFile {
  int fd = -1;
  int slot = -1;
  /// The data is in memory (tmpfs): requests are done at once, on the spot. A ring would hand them
  /// to a kernel thread, which costs more than the copy that they are.
  bool in_memory = false;
};

enum class IoCode : std::uint8_t {
  read,
  write,
  readv,
  writev,
  fsync,      ///< flags: 0, or 1 for fdatasync
  fallocate,  ///< flags: FALLOC_FL_*; offset; length in `offset2`
  statx,
  openat,
  timeout,
};

/// Plain data that the engines read; lives in the awaiting coroutine's frame until it completes.
struct IoOperation {
  IoCode code;
  RingFile file{};
  void* buffer = nullptr;    // data, iovec array, or struct statx*
  std::uint32_t length = 0;  // bytes, number of iovecs, or statx mask / open mode
  std::uint32_t flags = 0;
  std::int32_t fixed_buffer = -1;  // index of the registered buffer that `buffer` lies in
  std::uint64_t offset = 0;
  std::uint64_t offset2 = 0;
  const char* path = nullptr;  // openat, statx
  __kernel_timespec time{};    // timeout: how long

  int result = 0;  // >= 0, or a negative errno value
  std::coroutine_handle<> waiting{};
  IoOperation* next = nullptr;  // for the engine's queues
};

/// Does it now, with a blocking system call; EINTR is tried again. Returns the result.
int perform(const IoOperation& operation) noexcept;

}  // namespace platter
