// One detector for each format: whether a file carries its marks, and what is unsafe about it then.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/inspect/bounded_reader.h"
#include "formats/inspect/inspect.h"
#include "io/task.h"

namespace platter::inspect {

/// The stable codes of findings.
namespace code {
inline constexpr std::string_view kMismatch = "format-mismatch";
inline constexpr std::string_view kSeveral = "several-formats";
inline constexpr std::string_view kUnknownFormat = "unknown-format";
inline constexpr std::string_view kVersion = "unsupported-version";
inline constexpr std::string_view kFeatures = "unknown-features";
inline constexpr std::string_view kBackingFile = "backing-file";
inline constexpr std::string_view kDataFile = "data-file";
inline constexpr std::string_view kParent = "parent";
inline constexpr std::string_view kExtents = "extents";
inline constexpr std::string_view kHeader = "bad-header";
inline constexpr std::string_view kTruncated = "truncated";
inline constexpr std::string_view kVirtualSize = "virtual-size";
inline constexpr std::string_view kTooMuch = "inspection-limit";
// Notes.
inline constexpr std::string_view kEncrypted = "encrypted";
inline constexpr std::string_view kDirty = "dirty";
inline constexpr std::string_view kCorrupt = "corrupt";
inline constexpr std::string_view kSnapshots = "snapshots";
inline constexpr std::string_view kBitmaps = "bitmaps";
inline constexpr std::string_view kPartitions = "partition-table";
inline constexpr std::string_view kCompressed = "compressed";
}  // namespace code

/// What one detector says. Without a match, nothing else counts.
struct Detection {
  bool matches = false;
  std::optional<std::uint64_t> virtual_size;  ///< bytes
  std::vector<Finding> findings;

  void unsafe(std::string_view code, std::string message,
              std::optional<std::uint64_t> offset = std::nullopt) {
    findings.push_back({code, std::move(message), offset, true});
  }
  void note(std::string_view code, std::string message,
            std::optional<std::uint64_t> offset = std::nullopt) {
    findings.push_back({code, std::move(message), offset, false});
  }
  bool has(std::string_view code) const noexcept;
};

/// Each looks at the head, and reads what it must besides. Errors: io, cancelled.
Task<Detection> detect_qcow2(BoundedReader& file);
Task<Detection> detect_luks(BoundedReader& file);
Task<Detection> detect_gpt(BoundedReader& file);
Task<Detection> detect_mbr(BoundedReader& file);
Task<Detection> detect_iso(BoundedReader& file);
Task<Detection> detect_vmdk(BoundedReader& file);
Task<Detection> detect_vhd(BoundedReader& file);
Task<Detection> detect_vhdx(BoundedReader& file);
Task<Detection> detect_vdi(BoundedReader& file);
Task<Detection> detect_qed(BoundedReader& file);

/// True for a fixed vhd: a raw disk, partition table and all, with a footer behind it.
bool is_fixed_vhd(const BoundedReader& file) noexcept;

/// Text from an image for a message: at most 256 bytes, what does not print as \xNN, in quotes.
std::string quoted(std::string_view text);

}  // namespace platter::inspect
