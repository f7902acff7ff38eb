// Many equal requests to an image, as fast as it takes them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "formats/image.h"
#include "io/cancel.h"
#include "io/task.h"

namespace platter {

struct BenchOptions {
  bool write = false;
  std::uint64_t count = 75'000;
  std::uint64_t depth = 64;   ///< requests in flight, > 0
  std::uint64_t size = 4096;  ///< of a request, in bytes
  std::uint64_t step = 0;     ///< from one request's offset to the next one's; 0: `size`
  std::uint64_t offset = 0;   ///< of the first request
  std::byte pattern{0};       ///< what is written
  /// A flush each time that this many requests were written, and at the end; 0: none.
  std::uint64_t flush_interval = 0;
  /// Whether a flush waits for the requests in flight, and the next requests for the flush. If not
  /// it takes a request's place among those in flight.
  bool drain = true;
  const CancelToken* cancel = nullptr;
};

/// Offsets begin anew, by the image's size, once they are past its end; a request that reaches over
/// the end is an error, as in qemu-img. Returns how long the requests took. What was written is not
/// flushed, unless `flush_interval` says so.
/// Memory: a buffer for each request in flight, at most 1 GiB (too_large).
/// Errors: those of the image, after "Failed request"; too_large; cancelled.
Task<std::chrono::nanoseconds> bench_image(Image& image, BenchOptions options);

}  // namespace platter
