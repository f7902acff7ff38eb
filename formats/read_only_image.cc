#include "formats/read_only_image.h"

namespace platter {

Task<WritePlace> ReadOnlyImage::prepare_write(std::uint64_t /*offset*/, std::uint64_t /*length*/) {
  co_await check_writable();
  co_return WritePlace();
}
Task<void> ReadOnlyImage::commit_write(const WritePlace& /*place*/) { co_await check_writable(); }
Task<void> ReadOnlyImage::write_zeroes(std::uint64_t /*offset*/, std::uint64_t /*length*/,
                                       ZeroMode /*mode*/) {
  co_await check_writable();
}
Task<void> ReadOnlyImage::discard(std::uint64_t /*offset*/, std::uint64_t /*length*/) {
  co_await check_writable();
}
Task<void> ReadOnlyImage::resize(std::uint64_t /*size*/, ResizeOptions /*options*/) {
  co_await check_writable();
}
Task<void> ReadOnlyImage::flush() { co_return; }

}  // namespace platter
