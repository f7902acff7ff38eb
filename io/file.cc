#include "io/file.h"

namespace platter {

Task<std::size_t> File::readv(std::uint64_t offset, std::span<const iovec> into) {
  std::size_t total = 0;
  for (const iovec& piece : into) {
    const std::span bytes(static_cast<std::byte*>(piece.iov_base), piece.iov_len);
    const std::size_t count = co_await read(offset + total, bytes);
    total += count;
    if (count < bytes.size()) break;
  }
  co_return total;
}

Task<void> File::writev(std::uint64_t offset, std::span<const iovec> data) {
  for (const iovec& piece : data) {
    const std::span bytes(static_cast<const std::byte*>(piece.iov_base), piece.iov_len);
    co_await write(offset, bytes);
    offset += bytes.size();
  }
}

Task<std::optional<std::uint64_t>> File::space_left() { co_return std::nullopt; }

Task<void> File::clone_from(File& source, std::uint64_t /*source_offset*/, std::uint64_t /*offset*/,
                            std::uint64_t /*length*/) {
  co_await fail(ErrorKind::unsupported,
                "'" + name() + "' can't share blocks with '" + source.name() + "'");
}

Task<std::uint64_t> File::copy_from(File& source, std::uint64_t /*source_offset*/,
                                    std::uint64_t /*offset*/, std::uint64_t /*length*/) {
  co_return fail(ErrorKind::unsupported,
                 "the kernel can't copy from '" + source.name() + "' to '" + name() + "'");
}

Task<void> read_exactly(File& file, std::uint64_t offset, std::span<std::byte> into) {
  const std::size_t count = co_await file.read(offset, into);
  if (count == into.size()) co_return;
  co_await fail(ErrorKind::file_changed, "'" + file.name() + "' ends at offset " +
                                             std::to_string(offset + count) +
                                             ", before what was to be read");
}

std::size_t total_size(std::span<const iovec> pieces) noexcept {
  std::size_t total = 0;
  for (const iovec& piece : pieces) total += piece.iov_len;
  return total;
}

}  // namespace platter
