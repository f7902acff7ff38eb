// Partition tables: GPT as in the UEFI specification, "GUID Partition Table"; MBR as in "Legacy Master
// Boot Record". Both are contents of a raw disk, so what is wrong with one is no danger: a note.
#include <zlib.h>

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "formats/inspect/detector.h"
#include "io/bytes.h"

namespace platter::inspect {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kPartitionsAt = 446;
constexpr std::uint64_t kPartitionSize = 16;
constexpr unsigned kPartitions = 4;
constexpr std::uint64_t kSignatureAt = 510;
constexpr std::uint8_t kBootable = 0x80;
constexpr std::uint8_t kProtective = 0xee;

constexpr std::uint64_t kGptHeaderMin = 92;
constexpr std::uint64_t kGptEntriesMax = kMiB;  // bytes
constexpr std::uint64_t kChecksumAt = 16;

// Where logical blocks of both usual sizes have the header.
std::optional<std::uint64_t> gpt_block_size(const Bytes& head) {
  for (const std::uint64_t block : {std::uint64_t{512}, 4 * kKiB}) {
    if (head.has(block, "EFI PART"sv)) return block;
  }
  return std::nullopt;
}

std::uint32_t gpt_checksum(const Bytes& header, std::uint64_t size) {
  std::array<std::byte, 512> copy{};
  std::ranges::copy(header.from(0, size).span(), copy.begin());
  std::fill_n(copy.begin() + kChecksumAt, 4, std::byte{0});
  return static_cast<std::uint32_t>(
      ::crc32(0, reinterpret_cast<const Bytef*>(copy.data()), static_cast<uInt>(size)));
}

void check_gpt(const Bytes& header, std::uint64_t block, std::uint64_t file_size,
               Detection& found) {
  const auto wrong = [&](std::string message) {
    found.note(code::kPartitions, "the GPT header is damaged: " + message, block);
  };
  const std::uint64_t size = header.le32(12);
  if (size < kGptHeaderMin || size > 512) {
    wrong(fmt::format("it claims {} bytes", size));
    return;
  }
  if (gpt_checksum(header, size) != header.le32(kChecksumAt)) wrong("its checksum does not fit");
  if (header.le64(24) != 1) wrong("it says that it lies elsewhere");
  const std::uint64_t entry_size = header.le32(84);
  const auto entries_size = checked_mul(header.le32(80), entry_size);
  const auto entries_at = checked_mul(header.le64(72), block);
  if (entry_size < 128 || !entries_size || *entries_size > kGptEntriesMax) {
    wrong("its entries have no possible size");
  } else if (!entries_at || !in_bounds(*entries_at, *entries_size, file_size)) {
    wrong("its entries lie past the end of the disk");
  }
  const auto last = checked_mul(header.le64(48), block);
  if (header.le64(40) > header.le64(48) || !last || *last >= file_size) {
    wrong("the blocks it calls usable are not all there");
  }
}

struct Partition {
  std::uint8_t status = 0;
  std::uint8_t type = 0;
  std::uint64_t end = 0;  // in sectors
};

Partition partition(const Bytes& head, unsigned number) {
  const std::uint64_t at = kPartitionsAt + number * kPartitionSize;
  return {.status = head.u8(at),
          .type = head.u8(at + 4),
          .end = std::uint64_t{head.le32(at + 8)} + head.le32(at + 12)};
}

}  // namespace

Task<Detection> detect_gpt(BoundedReader& file) {
  Detection found;
  const std::optional<std::uint64_t> block = gpt_block_size(file.head());
  if (!block) co_return found;
  found.matches = true;
  check_gpt(file.head().from(*block), *block, file.file_size(), found);
  co_return found;
}

// Two bytes alone mark many things (a FAT filesystem, a boot sector): the entries have to be such.
Task<Detection> detect_mbr(BoundedReader& file) {
  Detection found;
  const Bytes head = file.head();
  if (!head.has(kSignatureAt, "\x55\xaa"sv) || gpt_block_size(head)) co_return found;
  bool used = false;
  bool outside = false;
  bool protective = false;
  for (unsigned number = 0; number < kPartitions; ++number) {
    const Partition entry = partition(head, number);
    if (entry.status != 0 && entry.status != kBootable) co_return found;
    if (entry.type == 0) continue;
    used = true;
    protective = protective || entry.type == kProtective;
    outside = outside || entry.end > file.file_size() / kSectorSize;
  }
  found.matches = used;
  if (protective) found.note(code::kPartitions, "the MBR speaks of a GPT that is not there", 446);
  if (outside && !protective) {
    found.note(code::kPartitions, "a partition ends past the end of the disk", 446);
  }
  co_return found;
}

}  // namespace platter::inspect
