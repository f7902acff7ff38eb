#include "formats/qcow2/table_writer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "io/bytes.h"
#include "io/ring.h"

namespace platter::qcow2 {
namespace {

constexpr std::size_t kWriteSize = 256 * kKiB;
constexpr std::size_t kPieceSize = 64 * kKiB;

Task<void> write_buffer(File& file, std::uint64_t offset, Buffer buffer, std::size_t length) {
  co_await file.write(offset, buffer.first(length));
}

}  // namespace

Task<void> TableWriter::add(std::uint64_t offset, std::uint64_t length, Fill fill) {
  for (std::uint64_t done = 0; done < length && !group_.failed();) {
    const std::size_t piece = std::min<std::uint64_t>(length - done, kPieceSize);
    co_await make_room(offset + done, piece);
    const std::span<std::byte> into = buffer_.bytes().subspan(filled_, piece);
    std::memset(into.data(), 0, into.size());
    if (fill) fill(done, into);
    filled_ += piece;
    done += piece;
  }
}

Task<void> TableWriter::make_room(std::uint64_t offset, std::size_t length) {
  if (filled_ > 0 && offset == begin_ + filled_ && length <= kWriteSize - filled_) co_return;
  co_await finish();
  co_await look_for_cancel(cancel_);
  buffer_ = co_await Ring::current().buffers().acquire(kWriteSize);
  begin_ = offset;
}

Task<void> TableWriter::finish() {
  const std::size_t length = std::exchange(filled_, 0);
  if (length == 0) co_return;
  co_await group_.spawn(write_buffer(file_, begin_, std::move(buffer_), length));
}

}  // namespace platter::qcow2
