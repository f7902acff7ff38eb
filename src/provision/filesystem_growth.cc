#include "src/provision/filesystem_growth.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "src/provision/run_program.h"

namespace platter::provision {
namespace {

// "struct ext4_super_block" in the kernel's fs/ext4/ext4.h; little-endian. Offsets in bytes.
constexpr std::uint64_t kSuperblockAt = 1024;
constexpr std::size_t kBlocksLow = 0x04;
constexpr std::size_t kLogBlockSize = 0x18;
constexpr std::size_t kMagicAt = 0x38;
constexpr std::size_t kIncompatible = 0x60;
constexpr std::size_t kBlocksHigh = 0x150;
constexpr std::uint32_t kMagic = 0xef53;
constexpr std::uint32_t kIncompatible64Bit = 0x80;
constexpr std::uint32_t kLogBlockSizeMax = 6;  // 64 KiB

using Superblock = std::array<std::byte, 1024>;

std::uint32_t little32(const Superblock& block, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t byte = 4; byte-- > 0;) {
    value = (value << 8) | std::to_integer<std::uint32_t>(block[at + byte]);
  }
  return value;
}

// 0: there is no such filesystem.
std::uint64_t filesystem_size(const Superblock& block) {
  if ((little32(block, kMagicAt) & 0xffff) != kMagic) return 0;
  const std::uint32_t log_size = little32(block, kLogBlockSize);
  if (log_size > kLogBlockSizeMax) return 0;
  std::uint64_t blocks = little32(block, kBlocksLow);
  if ((little32(block, kIncompatible) & kIncompatible64Bit) != 0) {
    blocks |= static_cast<std::uint64_t>(little32(block, kBlocksHigh)) << 32;
  }
  return blocks * (1024U << log_size);
}

ProgramCall call_on(const DirectFile& disk, std::string program,
                    std::vector<std::string> arguments) {
  ProgramCall call{.path = std::move(program), .arguments = std::move(arguments)};
  call.arguments.emplace_back(kProgramTarget);
  call.target_fd = disk.fd();
  return call;
}

}  // namespace

Task<bool> grow_ext_filesystem(DirectFile& disk, const CancelToken* cancel) {
  Superblock block{};
  const std::uint64_t size = co_await disk.size();
  if (size < kSuperblockAt + block.size()) co_return false;
  co_await read_exactly(disk, kSuperblockAt, block);
  const std::uint64_t has = filesystem_size(block);
  // What is less than a block more can't be used.
  constexpr std::uint64_t kBlockMax = 64 * 1024;
  if (has == 0 || has + kBlockMax > size) co_return false;
  const std::string check = co_await find_program("e2fsck");
  const std::string resize = co_await find_program("resize2fs");
  ProgramCall checking = call_on(disk, check, {"-f", "-p"});
  checking.good_exit_codes = {0, 1};  // 1: it was repaired
  co_await run_program(std::move(checking), cancel);
  co_await run_program(call_on(disk, resize, {}), cancel);
  co_await disk.flush();
  co_return true;
}

}  // namespace platter::provision
