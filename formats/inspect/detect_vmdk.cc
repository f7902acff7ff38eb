// VMDK, as in VMware's "Virtual Disk Format 5.0". A sparse extent with its descriptor inside is the only
// kind that is one file; every other kind names files, which a reader would open.
#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "formats/inspect/detector.h"
#include "io/bytes.h"

namespace platter::inspect {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kCapacityAt = 12;  // sectors
constexpr std::uint64_t kDescriptorAt = 28;
constexpr std::uint64_t kDescriptorSizeAt = 36;
constexpr std::uint64_t kDirectoryAt = 56;
constexpr std::uint64_t kHeaderSize = 79;
constexpr std::uint64_t kAtTheEnd = ~std::uint64_t{0};
constexpr std::uint64_t kDescriptorMax = 1 * kMiB;

// A text whose first lines are comments, blank, or a version: what QEMU takes for a descriptor.
bool is_descriptor(std::string_view text) {
  if (text.starts_with("# Disk DescriptorFile")) return true;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return false;
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    text.remove_prefix(end + 1);
    if (line.starts_with('#')) continue;
    if (line.find_first_not_of(' ') == std::string_view::npos) continue;
    return line == "version=1" || line == "version=2" || line == "version=3";
  }
  return false;
}

// The value of a line "name=value", without quotes; names in any case.
std::optional<std::string_view> value_of(std::string_view line, std::string_view name) {
  const auto same = [](char a, char b) { return (a | 0x20) == (b | 0x20); };
  const std::size_t equals = line.find('=');
  if (equals == std::string_view::npos) return std::nullopt;
  std::string_view key = line.substr(0, equals);
  while (key.ends_with(' ')) key.remove_suffix(1);
  if (!std::ranges::equal(key, name, same)) return std::nullopt;
  std::string_view value = line.substr(equals + 1);
  while (value.starts_with(' ') || value.starts_with('"')) value.remove_prefix(1);
  while (value.ends_with(' ') || value.ends_with('"')) value.remove_suffix(1);
  return value;
}

bool is_extent(std::string_view line) {
  return line.starts_with("RW ") || line.starts_with("RDONLY ") || line.starts_with("NOACCESS ");
}

class DescriptorCheck {
 public:
  DescriptorCheck(std::uint64_t at, Detection& found) : at_(at), found_(found) {}

  void check(std::string_view text) {
    text = text.substr(0, text.find('\0'));
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      while (line.ends_with('\r') || line.ends_with(' ')) line.remove_suffix(1);
      while (line.starts_with(' ') || line.starts_with('\t')) line.remove_prefix(1);
      check_line(line);
    }
    if (types_ != 1) {
      found_.unsafe(code::kHeader, fmt::format("the descriptor has {} types", types_), at_);
    }
    if (extents_ != 1) {
      found_.unsafe(code::kExtents, fmt::format("the image has {} extents", extents_), at_);
    }
  }

 private:
  void check_line(std::string_view line) {
    if (is_extent(line)) {
      ++extents_;
      check_extent(line);
    } else if (const auto type = value_of(line, "createType")) {
      ++types_;
      if (*type != "monolithicSparse" && *type != "streamOptimized") {
        found_.unsafe(code::kExtents,
                      "an image of type " + quoted(*type) + ", which is of several files", at_);
      }
    } else if (const auto parent = value_of(line, "parentCID")) {
      if (*parent != "ffffffff" && *parent != "FFFFFFFF")
        has_parent("the image stands on another one");
    } else if (const auto hint = value_of(line, "parentFileNameHint")) {
      has_parent("the image names a parent: " + quoted(*hint));
    }
  }
  // "RW 20480 SPARSE "name"": with the type above the name is the file's own.
  void check_extent(std::string_view line) {
    const std::size_t quote = line.find('"');
    const std::string_view name = quote == std::string_view::npos ? "" : line.substr(quote);
    if (line.find(" SPARSE ") == std::string_view::npos || name.contains('/')) {
      if (!found_.has(code::kExtents)) {
        found_.unsafe(code::kExtents, "the image names an extent: " + quoted(line), at_);
      }
    }
  }
  void has_parent(std::string message) {
    if (!found_.has(code::kParent)) found_.unsafe(code::kParent, std::move(message), at_);
  }

  std::uint64_t at_;
  Detection& found_;
  unsigned types_ = 0;
  unsigned extents_ = 0;
};

Task<void> check_footer(BoundedReader& file, Bytes head, Detection& found) {
  constexpr std::uint64_t kFromEnd = 1024;
  const std::uint64_t at = file.file_size() - std::min(file.file_size(), kFromEnd);
  const std::vector<std::byte> bytes = co_await file.read(at, kHeaderSize);
  const Bytes footer(bytes);
  if (!footer.has(0, "KDMV"sv) || footer.le32(4) != head.le32(4) ||
      footer.le64(kCapacityAt) != head.le64(kCapacityAt) ||
      footer.le64(kDirectoryAt) == kAtTheEnd) {
    found.unsafe(code::kHeader, "the footer is missing, or says other things than the header", at);
  }
}

Task<void> check_sparse(BoundedReader& file, Detection& found) {
  const Bytes head = file.head();
  const std::uint32_t version = head.le32(4);
  if (version < 1 || version > 3) {
    found.unsafe(code::kVersion, fmt::format("VMDK version {}; only 1 to 3 are taken", version), 4);
    co_return;
  }
  const auto capacity = checked_mul(head.le64(kCapacityAt), kSectorSize);
  if (!capacity || *capacity > kMaxFileSize) {
    found.unsafe(code::kHeader, "the disk has more bytes than any disk can have", kCapacityAt);
  } else {
    found.virtual_size = *capacity;
  }
  if (capacity == 0) {
    found.unsafe(code::kExtents, "an image without extents of its own", kCapacityAt);
  }
  const auto at = checked_mul(head.le64(kDescriptorAt), kSectorSize);
  const auto size = checked_mul(head.le64(kDescriptorSizeAt), kSectorSize);
  if (!at || !size || *at < kSectorSize || *size == 0 || *size > kDescriptorMax ||
      !in_bounds(*at, *size, file.file_size())) {
    found.unsafe(code::kHeader, "the descriptor has no possible place", kDescriptorAt);
    co_return;
  }
  const std::vector<std::byte> descriptor = co_await file.read(*at, *size);
  DescriptorCheck(*at, found).check(Bytes(descriptor).text());
  if (head.le64(kDirectoryAt) == kAtTheEnd) co_await check_footer(file, head, found);
}

}  // namespace

Task<Detection> detect_vmdk(BoundedReader& file) {
  Detection found;
  const Bytes head = file.head();
  if (head.has(0, "KDMV"sv)) {
    found.matches = true;
    co_await check_sparse(file, found);
  } else if (head.has(0, "COWD"sv)) {
    found.matches = true;
    found.unsafe(code::kVersion, "an extent of an ESX disk, which has its descriptor elsewhere", 0);
  } else if (is_descriptor(head.from(0, 64 * kKiB).text())) {
    found.matches = true;
    found.unsafe(code::kExtents, "a descriptor: the image's data is in other files", 0);
  }
  co_return found;
}

}  // namespace platter::inspect
