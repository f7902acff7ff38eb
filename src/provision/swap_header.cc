#include "src/provision/swap_header.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <span>
#include <string_view>

namespace platter::provision {
namespace {

constexpr std::uint64_t kPagesMin = 10;
constexpr std::size_t kBootSize = 1024;  // left to boot loaders
constexpr std::string_view kSignature = "SWAPSPACE2";

/// "union swap_header", info. In the byte order of the machine.
struct SwapInfo {
  std::uint32_t version;      // 0   1
  std::uint32_t last_page;    // 4
  std::uint32_t nr_badpages;  // 8
  std::byte sws_uuid[16];     // 12
  char sws_volume[16];        // 28  ends with a zero
};
static_assert(sizeof(SwapInfo) == 44);

// RFC 9562, version 4.
Result<std::array<std::byte, 16>> random_uuid() {
  std::array<std::byte, 16> uuid;
  if (::getrandom(uuid.data(), uuid.size(), 0) != static_cast<ssize_t>(uuid.size())) {
    return fail_errno(errno, "getrandom");
  }
  uuid[6] = (uuid[6] & std::byte{0x0f}) | std::byte{0x40};
  uuid[8] = (uuid[8] & std::byte{0x3f}) | std::byte{0x80};
  return uuid;
}

}  // namespace

Result<std::vector<std::byte>> swap_header(std::uint64_t size, SwapOptions options) {
  const std::uint64_t page =
      options.page_size != 0 ? options.page_size : static_cast<std::uint64_t>(::getpagesize());
  const std::uint64_t pages = size / page;
  if (pages < kPagesMin) {
    return fail(ErrorKind::invalid_argument,
                "a swap area needs " + std::to_string(kPagesMin * page) + " bytes at least");
  }
  if (pages - 1 > std::numeric_limits<std::uint32_t>::max()) {
    return fail(ErrorKind::too_large, "a swap area has 2^32 pages at most");
  }
  SwapInfo info{};
  if (options.label.size() >= sizeof(info.sws_volume)) {
    return fail(ErrorKind::invalid_argument, "the label of a swap area has 15 bytes at most");
  }
  if (options.uuid == std::array<std::byte, 16>{}) {
    auto uuid = random_uuid();
    if (!uuid) return fail(std::move(uuid.error()));
    options.uuid = *uuid;
  }
  info.version = 1;
  info.last_page = static_cast<std::uint32_t>(pages - 1);
  std::ranges::copy(options.uuid, info.sws_uuid);
  std::ranges::copy(options.label, info.sws_volume);
  std::vector<std::byte> header(page);
  std::memcpy(header.data() + kBootSize, &info, sizeof(info));
  std::memcpy(header.data() + page - kSignature.size(), kSignature.data(), kSignature.size());
  return header;
}

}  // namespace platter::provision
