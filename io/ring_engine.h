// What a Ring needs from the kernel: the seam between io_uring and its thread-pool fallback.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "io/error.h"
#include "io/io_operation.h"
#include "io/ring.h"

namespace platter {

/// Single-threaded: belongs to its ring. Internal to io/.
class RingEngine {
 public:
  virtual ~RingEngine() = default;

  /// Takes the operation; it completes in a later poll(), never here.
  virtual void submit(IoOperation& operation) = 0;
  /// Hands queued operations to the kernel and appends the completed ones to `completed`.
  /// With `block`, waits until an operation completes or the ring's eventfd is signalled.
  virtual void poll(bool block, IoOperation**& completed_tail) = 0;

  virtual int register_file(int fd) noexcept = 0;
  virtual void unregister_file(int slot) noexcept = 0;
  /// Registers the areas, in order, as fixed buffers 0, 1, ...; false where that can't be done.
  virtual bool register_buffers(std::span<const iovec> areas) noexcept = 0;
  virtual void unregister_buffers() noexcept = 0;

  virtual RingEngineKind kind() const noexcept = 0;
  virtual const RingFeatures& features() const noexcept = 0;
};

/// Errors: unsupported, with a message that says what forbids io_uring and what to change.
Result<std::unique_ptr<RingEngine>> make_uring_engine(int event_fd, const RingOptions& options);
std::unique_ptr<RingEngine> make_thread_engine(int event_fd, const RingOptions& options);

}  // namespace platter
