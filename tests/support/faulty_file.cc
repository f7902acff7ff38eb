#include "tests/support/faulty_file.h"

#include <algorithm>
#include <utility>

#include "io/ring.h"
#include "io/run_loop.h"

namespace platter::test {
namespace {

// The first `length` bytes of scattered memory.
std::vector<iovec> first_part(std::span<const iovec> pieces, std::uint64_t length) {
  std::vector<iovec> part;
  for (iovec piece : pieces) {
    piece.iov_len = std::min<std::uint64_t>(piece.iov_len, length);
    if (piece.iov_len > 0) part.push_back(piece);
    length -= piece.iov_len;
  }
  return part;
}

// A file that knows how to share blocks knows only files of its own kind.
File& undecorated(File& file) {
  auto* faulty = dynamic_cast<FaultyFile*>(&file);
  return faulty != nullptr ? undecorated(faulty->below()) : file;
}

bool is_done(const Fault& fault) {
  return fault.error == Fault::Error::after || fault.error == Fault::Error::none;
}

}  // namespace

Task<Fault> FaultyFile::begin(FileOperation kind) {
  const Fault fault = plan_.next(kind).value_or(Fault{.error = Fault::Error::none});
  for (unsigned i = 0; i < fault.yields; ++i) co_await yield();
  if (fault.sleep.count() > 0) {
    const int slept = co_await Ring::current().sleep(fault.sleep);
    if (slept < 0) co_return fail_errno(-slept, "sleep");
  }
  co_return fault;
}

Result<void> FaultyFile::end(const Fault& fault, FileOperation kind,
                             std::optional<std::uint64_t> offset) const {
  if (fault.error == Fault::Error::none) return {};
  return fail_errno(fault.os_error, to_string(kind), name(), offset);
}

Task<std::size_t> FaultyFile::read(std::uint64_t offset, std::span<std::byte> into) {
  const Fault fault = co_await begin(FileOperation::read);
  const std::span<std::byte> part = into.first(fault.part_of(into.size()));
  std::size_t count = 0;
  if (!part.empty()) count = co_await file_->read(offset, part);
  co_await end(fault, FileOperation::read, offset);
  co_return count;
}

Task<std::size_t> FaultyFile::readv(std::uint64_t offset, std::span<const iovec> into) {
  const Fault fault = co_await begin(FileOperation::read);
  const std::vector<iovec> part = first_part(into, fault.part_of(total_size(into)));
  const std::size_t count = co_await file_->readv(offset, part);
  co_await end(fault, FileOperation::read, offset);
  co_return count;
}

Task<void> FaultyFile::write(std::uint64_t offset, std::span<const std::byte> data) {
  const Fault fault = co_await begin(FileOperation::write);
  const std::span<const std::byte> part = data.first(fault.part_of(data.size()));
  if (!part.empty()) co_await file_->write(offset, part);
  co_await end(fault, FileOperation::write, offset);
}

Task<void> FaultyFile::writev(std::uint64_t offset, std::span<const iovec> data) {
  const Fault fault = co_await begin(FileOperation::write);
  const std::vector<iovec> part = first_part(data, fault.part_of(total_size(data)));
  if (!part.empty()) co_await file_->writev(offset, part);
  co_await end(fault, FileOperation::write, offset);
}

Task<void> FaultyFile::flush() {
  const Fault fault = co_await begin(FileOperation::flush);
  if (flush_error_) co_await fail(flush_error_->clone());
  if (is_done(fault)) co_await file_->flush();
  Result<void> ended = end(fault, FileOperation::flush);
  if (!ended) flush_error_ = ended.error().clone();
  co_await std::move(ended);
}

Task<void> FaultyFile::write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
  const Fault fault = co_await begin(FileOperation::write_zeroes);
  const std::uint64_t part = fault.part_of(length);
  if (part > 0) co_await file_->write_zeroes(offset, part, mode);
  co_await end(fault, FileOperation::write_zeroes, offset);
}

Task<void> FaultyFile::discard(std::uint64_t offset, std::uint64_t length) {
  const Fault fault = co_await begin(FileOperation::discard);
  const std::uint64_t part = fault.part_of(length);
  if (part > 0) co_await file_->discard(offset, part);
  co_await end(fault, FileOperation::discard, offset);
}

Task<void> FaultyFile::truncate(std::uint64_t size) {
  const Fault fault = co_await begin(FileOperation::truncate);
  if (is_done(fault)) co_await file_->truncate(size);
  co_await end(fault, FileOperation::truncate, size);
}

Task<void> FaultyFile::allocate(std::uint64_t offset, std::uint64_t length) {
  const Fault fault = co_await begin(FileOperation::allocate);
  const std::uint64_t part = fault.part_of(length);
  if (part > 0) co_await file_->allocate(offset, part);
  co_await end(fault, FileOperation::allocate, offset);
}

Task<std::vector<Extent>> FaultyFile::extents(std::uint64_t offset, std::uint64_t length,
                                              std::size_t count_max) {
  const Fault fault = co_await begin(FileOperation::extents);
  co_await end(fault, FileOperation::extents, offset);
  co_return co_await file_->extents(offset, length, count_max);
}

Task<void> FaultyFile::clone_from(File& source, std::uint64_t source_offset, std::uint64_t offset,
                                  std::uint64_t length) {
  const Fault fault = co_await begin(FileOperation::clone);
  if (is_done(fault)) {
    co_await file_->clone_from(undecorated(source), source_offset, offset, length);
  }
  co_await end(fault, FileOperation::clone, offset);
}

Task<std::uint64_t> FaultyFile::copy_from(File& source, std::uint64_t source_offset,
                                          std::uint64_t offset, std::uint64_t length) {
  const Fault fault = co_await begin(FileOperation::copy);
  const std::uint64_t part = fault.part_of(length);
  std::uint64_t count = 0;
  if (part > 0) {
    count = co_await file_->copy_from(undecorated(source), source_offset, offset, part);
  }
  co_await end(fault, FileOperation::copy, offset);
  co_return count;
}

}  // namespace platter::test
