// read_image FILE: opens a disk image of any format, reads all of it with many reads in flight on
// one thread, and prints how many of its bytes are not zero. docs/embedding.md explains it.
#include <algorithm>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "formats/open.h"
#include "io/ring.h"
#include "io/task_group.h"

namespace {

using platter::Image;
using platter::Result;
using platter::Ring;
using platter::Task;
using platter::TaskGroup;

constexpr std::uint64_t kChunkSize = std::uint64_t{1} << 20;
constexpr std::size_t kReadsInFlight = 16;  // so the buffers take 16 MiB, whatever the image

struct Summary {
  std::string format;
  std::uint64_t size = 0;      // bytes
  std::uint64_t not_zero = 0;  // bytes
};

/// One of many: each has its own buffer, and all of them run on the ring's thread, so the sum
/// needs no lock.
Task<void> count_chunk(Image& image, std::uint64_t offset, std::uint64_t length,
                       std::uint64_t& not_zero) {
  // Aligned memory: direct I/O needs no copy then. A plain array works as well.
  platter::Buffer buffer = co_await Ring::current().buffers().acquire(length);
  co_await image.read(offset, buffer.bytes());
  not_zero += length - static_cast<std::uint64_t>(std::ranges::count(buffer.bytes(), std::byte{0}));
}

/// Starts the reads; spawn() waits while kReadsInFlight of them are under way.
Task<void> count_chunks(TaskGroup& group, Image& image, std::uint64_t& not_zero) {
  for (std::uint64_t offset = 0; offset < image.virtual_size() && !group.failed();) {
    const std::uint64_t length = std::min(kChunkSize, image.virtual_size() - offset);
    co_await group.spawn(count_chunk(image, offset, length, not_zero));
    offset += length;
  }
}

/// A group joins its tasks on every way out: when this returns, no read is in flight.
Task<Summary> summarise(Image& image) {
  Summary summary{.format = std::string(image.format()), .size = image.virtual_size()};
  auto body = [&](TaskGroup& group) { return count_chunks(group, image, summary.not_zero); };
  co_await platter::with_group(kReadsInFlight, body);
  co_return summary;
}

/// `co_await` hands an error on to the caller; `.result()` keeps it here, because the image is
/// closed whether the reads worked or not.
Task<Summary> summarise_file(std::string filename) {
  platter::OpenOptions options;
  options.purpose = platter::OpenPurpose::read;
  const platter::OpenPolicy policy;  // trusts nothing: opens this file and no other
  platter::OpenedImage opened = co_await platter::open_image(filename, options, policy);
  Result<Summary> summary = co_await summarise(*opened.image).result();
  Result<void> closed = co_await opened.image->close().result();
  Summary value = co_await std::move(summary);
  co_await std::move(closed);
  co_return value;
}

int report(const platter::Error& error) {
  std::fprintf(stderr, "read_image: %s\n", error.message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: read_image FILE\n");
    return 2;
  }
  Result<std::unique_ptr<Ring>> ring = Ring::create();
  if (!ring) return report(ring.error());
  const Result<Summary> summary = (*ring)->run(summarise_file(argv[1]));
  if (!summary) return report(summary.error());
  std::printf("%s: %s, %" PRIu64 " bytes, %" PRIu64 " not zero\n", argv[1], summary->format.c_str(),
              summary->size, summary->not_zero);
}
