// io_uring, as found on Linux 5.15 and newer. What came later is probed, never assumed.
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include <liburing.h>

#include "io/check.h"
#include "io/ring_engine.h"

namespace platter {
namespace {

constexpr unsigned kFileSlots = 64;
constexpr std::uint64_t kWakeTag = 0;  // user_data of the read on the eventfd
// Entries handed to the kernel at once, where they are not neighbours. It holds back what is in a
// larger batch until it has seen all of it, and the device idles meanwhile.
constexpr unsigned kBatch = 2;

// The block layer makes one request of neighbours, if they come together.
bool are_neighbours(const IoOperation& first, const IoOperation& second) {
  const bool moves_data = first.code == IoCode::read || first.code == IoCode::write;
  return moves_data && second.code == first.code && second.file.fd == first.file.fd &&
         second.offset == first.offset + first.length;
}

std::string why_forbidden(int os_error) {
  std::string why = "io_uring is not available: " + errno_text(os_error);
  if (os_error == ENOSYS) return why + " (the kernel is built without it, or is older than 5.1)";
  if (os_error == EPERM || os_error == EACCES) {
    return why +
           " (set the sysctl kernel.io_uring_disabled to 0, or let the container's seccomp profile"
           " permit io_uring_setup, io_uring_enter and io_uring_register)";
  }
  if (os_error == ENOMEM) return why + " (raise the limit of locked memory, ulimit -l)";
  return why;
}

bool has_operations(io_uring& ring) {
  io_uring_probe* probe = io_uring_get_probe_ring(&ring);
  if (probe == nullptr) return false;
  constexpr int kNeeded[] = {IORING_OP_READ,       IORING_OP_WRITE,      IORING_OP_READV,
                             IORING_OP_WRITEV,     IORING_OP_FSYNC,      IORING_OP_FALLOCATE,
                             IORING_OP_STATX,      IORING_OP_OPENAT,     IORING_OP_TIMEOUT,
                             IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED};
  const bool all = std::ranges::all_of(
      kNeeded, [probe](int code) { return io_uring_opcode_supported(probe, code) != 0; });
  io_uring_free_probe(probe);
  return all;
}

class UringEngine final : public RingEngine {
 public:
  UringEngine(const io_uring& ring, int event_fd, const RingFeatures& features)
      : ring_(ring), event_fd_(event_fd), features_(features) {}
  ~UringEngine() override {
    end_wake();
    io_uring_queue_exit(&ring_);
  }
  UringEngine(const UringEngine&) = delete;
  UringEngine& operator=(const UringEngine&) = delete;

  void prepare(const RingFeatures& allow) {
    if (allow.registered_files) register_file_table();
    features_.registered_buffers = allow.registered_buffers;
  }

  void submit(IoOperation& operation) override {
    operation.next = nullptr;
    *waiting_tail_ = &operation;
    waiting_tail_ = &operation.next;
  }

  void poll(bool block, IoOperation**& completed_tail) override {
    // What waits is handed over in batches; wait only after the last.
    do {
      fill_submission_queue();
      const bool last = waiting_ == nullptr || in_flight_ >= in_flight_max();
      const int entered = enter(block && last && io_uring_cq_ready(&ring_) == 0);
      PLATTER_CHECK(entered >= 0 || entered == -EINTR || entered == -EAGAIN || entered == -EBUSY);
      if (reap(completed_tail) > 0) block = false;
    } while (waiting_ != nullptr && in_flight_ < in_flight_max());
  }

  int register_file(int fd) noexcept override {
    if (!features_.registered_files || free_slots_.empty()) return -1;
    const unsigned slot = free_slots_.back();
    if (io_uring_register_files_update(&ring_, slot, &fd, 1) != 1) return -1;
    free_slots_.pop_back();
    return static_cast<int>(slot);
  }

  void unregister_file(int slot) noexcept override {
    const int none = -1;
    io_uring_register_files_update(&ring_, static_cast<unsigned>(slot), &none, 1);
    free_slots_.push_back(static_cast<unsigned>(slot));
  }

  bool register_buffers(std::span<const iovec> areas) noexcept override {
    if (!features_.registered_buffers) return false;
    // ENOMEM (RLIMIT_MEMLOCK), EPERM, EFAULT, ...: buffers work unregistered.
    features_.registered_buffers =
        io_uring_register_buffers(&ring_, areas.data(), static_cast<unsigned>(areas.size())) == 0;
    return features_.registered_buffers;
  }
  void unregister_buffers() noexcept override { io_uring_unregister_buffers(&ring_); }

  RingEngineKind kind() const noexcept override { return RingEngineKind::io_uring; }
  const RingFeatures& features() const noexcept override { return features_; }

 private:
  unsigned in_flight_max() const noexcept { return *ring_.cq.kring_entries; }

  void register_file_table() {
    const std::vector<int> none(kFileSlots, -1);
    features_.registered_files = io_uring_register_files(&ring_, none.data(), kFileSlots) == 0;
    if (!features_.registered_files) return;
    for (unsigned slot = kFileSlots; slot-- > 0;) free_slots_.push_back(slot);
  }

  // Completions beyond the completion queue's size would be kept by the kernel at a cost; so no
  // more are in flight than it holds.
  void fill_submission_queue() {
    arm_wake();
    while (waiting_ != nullptr && in_flight_ < in_flight_max()) {
      io_uring_sqe* entry = io_uring_get_sqe(&ring_);
      if (entry == nullptr) return;
      IoOperation* operation = waiting_;
      waiting_ = operation->next;
      if (waiting_ == nullptr) waiting_tail_ = &waiting_;
      fill(*entry, *operation);
      ++in_flight_;
      const bool batch_full = io_uring_sq_ready(&ring_) >= kBatch;
      if (batch_full && waiting_ != nullptr && !are_neighbours(*operation, *waiting_)) return;
    }
  }

  void arm_wake() {
    if (wake_armed_) return;
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    if (entry == nullptr) return;
    io_uring_prep_read(entry, event_fd_, &wake_value_, sizeof wake_value_, 0);
    io_uring_sqe_set_data64(entry, kWakeTag);
    wake_armed_ = true;
    ++in_flight_;
  }

  // The kernel takes the ring apart later than io_uring_queue_exit() returns: a read that is still
  // armed could then write to wake_value_, which is gone.
  void end_wake() {
    const std::uint64_t one = 1;
    if (!wake_armed_ || ::write(event_fd_, &one, sizeof one) < 0) return;
    IoOperation* none = nullptr;
    IoOperation** tail = &none;
    while (wake_armed_) {
      const int entered = enter(io_uring_cq_ready(&ring_) == 0);
      if (entered < 0 && entered != -EINTR && entered != -EAGAIN && entered != -EBUSY) return;
      reap(tail);
    }
  }

  static void fill(io_uring_sqe& entry, IoOperation& operation) {
    const int fd = operation.file.slot >= 0 ? operation.file.slot : operation.file.fd;
    switch (operation.code) {
      case IoCode::read:
        if (operation.fixed_buffer >= 0) {
          io_uring_prep_read_fixed(&entry, fd, operation.buffer, operation.length, operation.offset,
                                   operation.fixed_buffer);
        } else {
          io_uring_prep_read(&entry, fd, operation.buffer, operation.length, operation.offset);
        }
        break;
      case IoCode::write:
        if (operation.fixed_buffer >= 0) {
          io_uring_prep_write_fixed(&entry, fd, operation.buffer, operation.length,
                                    operation.offset, operation.fixed_buffer);
        } else {
          io_uring_prep_write(&entry, fd, operation.buffer, operation.length, operation.offset);
        }
        break;
      case IoCode::readv:
        io_uring_prep_readv(&entry, fd, static_cast<const iovec*>(operation.buffer),
                            operation.length, operation.offset);
        break;
      case IoCode::writev:
        io_uring_prep_writev(&entry, fd, static_cast<const iovec*>(operation.buffer),
                             operation.length, operation.offset);
        break;
      case IoCode::fsync:
        io_uring_prep_fsync(&entry, fd, operation.flags != 0 ? IORING_FSYNC_DATASYNC : 0);
        break;
      case IoCode::fallocate:
        io_uring_prep_fallocate(&entry, fd, static_cast<int>(operation.flags),
                                static_cast<off_t>(operation.offset),
                                static_cast<off_t>(operation.offset2));
        break;
      case IoCode::statx:
        io_uring_prep_statx(&entry, fd, operation.path, static_cast<int>(operation.flags),
                            operation.length, static_cast<struct statx*>(operation.buffer));
        break;
      case IoCode::openat:
        io_uring_prep_openat(&entry, fd, operation.path, static_cast<int>(operation.flags),
                             operation.length);
        break;
      case IoCode::timeout:
        io_uring_prep_timeout(&entry, reinterpret_cast<__kernel_timespec*>(&operation.time), 0, 0);
        break;
    }
    if (operation.file.slot >= 0) entry.flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data(&entry, &operation);
  }

  int enter(bool wait) {
    if (wait) return io_uring_submit_and_wait(&ring_, 1);
    if (io_uring_sq_ready(&ring_) > 0) {
      return features_.defer_taskrun ? io_uring_submit_and_get_events(&ring_)
                                     : io_uring_submit(&ring_);
    }
    // Work that the kernel deferred to this thread runs only when it enters the kernel.
    const unsigned pending = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;
    if ((*ring_.sq.kflags & pending) != 0) return io_uring_get_events(&ring_);
    return 0;
  }

  unsigned reap(IoOperation**& completed_tail) {
    unsigned count = 0;
    unsigned head = 0;
    io_uring_cqe* entry = nullptr;
    io_uring_for_each_cqe(&ring_, head, entry) {
      ++count;
      --in_flight_;
      if (entry->user_data == kWakeTag) {
        wake_armed_ = false;
        continue;
      }
      auto* operation = reinterpret_cast<IoOperation*>(entry->user_data);
      operation->result = entry->res;
      if (operation->code == IoCode::timeout && entry->res == -ETIME) operation->result = 0;
      operation->next = nullptr;
      *completed_tail = operation;
      completed_tail = &operation->next;
    }
    io_uring_cq_advance(&ring_, count);
    return count;
  }

  io_uring ring_;
  int event_fd_;
  RingFeatures features_;
  IoOperation* waiting_ = nullptr;  // not yet in the submission queue
  IoOperation** waiting_tail_ = &waiting_;
  unsigned in_flight_ = 0;  // in the submission queue or the kernel's, the wake-up read included
  bool wake_armed_ = false;
  std::uint64_t wake_value_ = 0;
  std::vector<unsigned> free_slots_;
};

// Newest first: each step back leaves out flags that an older kernel refuses with EINVAL.
std::vector<RingFeatures> set_up_attempts(const RingFeatures& allow) {
  std::vector<RingFeatures> attempts;
  if (allow.single_issuer && allow.defer_taskrun) {
    attempts.push_back({.single_issuer = true, .defer_taskrun = true});
  }
  if (allow.single_issuer && allow.coop_taskrun) {
    attempts.push_back({.single_issuer = true, .coop_taskrun = true});
  }
  if (allow.coop_taskrun) attempts.push_back({.coop_taskrun = true});
  attempts.push_back({});
  return attempts;
}

// Returns 0 or a negative errno value.
int set_up_one(unsigned depth, const RingFeatures& attempt, io_uring& ring) {
  io_uring_params params{};
  if (attempt.single_issuer) params.flags |= IORING_SETUP_SINGLE_ISSUER;
  if (attempt.defer_taskrun) params.flags |= IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  if (attempt.coop_taskrun) params.flags |= IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  return io_uring_queue_init_params(depth, &ring, &params);
}

Result<io_uring> set_up(const RingOptions& options, RingFeatures& features) {
  constexpr unsigned kDepthMin = 8;
  int failure = 0;
  for (const RingFeatures& attempt : set_up_attempts(options.allow)) {
    // The queues are locked memory, which a limit (ulimit -l) can be short of: small ones still
    // beat threads.
    for (unsigned depth = options.depth;; depth /= 4) {
      io_uring ring{};
      failure = -set_up_one(depth, attempt, ring);
      if (failure == 0) {
        features = attempt;
        return ring;
      }
      if (failure != ENOMEM || depth / 4 < kDepthMin) break;
    }
    if (failure != EINVAL) break;
  }
  return fail(Error(ErrorKind::unsupported, why_forbidden(failure)));
}

}  // namespace

Result<std::unique_ptr<RingEngine>> make_uring_engine(int event_fd, const RingOptions& options) {
  RingFeatures features;
  Result<io_uring> ring = set_up(options, features);
  if (!ring) return fail(std::move(ring.error()));
  if (!has_operations(*ring)) {
    io_uring_queue_exit(&*ring);
    return fail(ErrorKind::unsupported,
                "io_uring lacks operations that platter needs (the kernel is older than 5.15, or"
                " seccomp forbids io_uring_register)");
  }
  // seccomp can let a ring be made and yet forbid its use.
  if (const int entered = io_uring_get_events(&*ring); entered < 0 && entered != -EINTR) {
    io_uring_queue_exit(&*ring);
    return fail(ErrorKind::unsupported, why_forbidden(-entered));
  }
  auto engine = std::make_unique<UringEngine>(*ring, event_fd, features);
  engine->prepare(options.allow);
  return engine;
}

}  // namespace platter
