#include "formats/inspect/bounded_reader.h"

#include <algorithm>

namespace platter::inspect {

Bytes Bytes::from(std::uint64_t offset, std::uint64_t length) const noexcept {
  if (offset >= bytes_.size()) return {};
  const std::uint64_t left = bytes_.size() - offset;
  return Bytes(bytes_.subspan(offset, std::min(left, length)));
}

Task<void> BoundedReader::start() {
  file_size_ = co_await file_.size();
  head_ = co_await read(0, kHeadSize);
}

Task<std::vector<std::byte>> BoundedReader::read(std::uint64_t offset, std::uint64_t length) {
  if (cancel_ != nullptr) co_await cancel_->check();
  if (offset >= file_size_) co_return std::vector<std::byte>();
  length = std::min(length, file_size_ - offset);
  if (length > budget_ - bytes_read_) {
    exhausted_ = true;
    length = budget_ - bytes_read_;
  }
  std::vector<std::byte> bytes(length);
  bytes.resize(co_await file_.read(offset, bytes));
  bytes_read_ += bytes.size();
  co_return bytes;
}

}  // namespace platter::inspect
