// A LUKS1 header as it comes, without a key and with a passphrase that costs little: an error, or an
// image whose places lie within their bounds.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "crypto/secret.h"
#include "formats/luks/luks_image.h"
#include "io/check.h"
#include "io/memory_file.h"
#include "io/ring.h"

namespace platter::luks {
namespace {

constexpr std::uint64_t kFileSize = 3'000'000;  // behind the payload offset of any key size
constexpr std::uint32_t kIterationsMax = 2000;

Task<void> open(std::span<const std::byte> bytes, const Secret* passphrase) {
  auto file = std::make_unique<MemoryFile>("fuzz", kFileSize);
  co_await file->write(0, bytes);
  const std::unique_ptr<LuksImage> image = co_await LuksImage::open(
      {.payload = std::move(file), .header = nullptr}, "fuzz",
      {.passphrase = passphrase, .limits = {.pbkdf2_iterations_max = kIterationsMax}});
  const LuksInfo& info = image->luks_info();
  PLATTER_CHECK(info.slots.size() == kSlots && info.payload_offset <= kFileSize);
  PLATTER_CHECK(image->virtual_size() <= kFileSize);
  co_await image->close();
}

}  // namespace
}  // namespace platter::luks

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size >= 8 && data[6] == 0 && data[7] == 2) return 0;  // version 2 is libcryptsetup's to read
  static const std::unique_ptr<platter::Ring> ring = platter::Ring::create().value();
  const auto bytes = std::as_bytes(std::span(data, size));
  const platter::Secret passphrase =
      platter::Secret::copy_of(std::as_bytes(std::span("abc", 3))).value();
  (void)ring->run(platter::luks::open(bytes, nullptr));
  (void)ring->run(platter::luks::open(bytes, &passphrase));
  return 0;
}
