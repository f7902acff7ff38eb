// What is known of an image without reading guest data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace platter {

/// An internal snapshot. Strings may be any bytes.
struct SnapshotInfo {
  std::string id;
  std::string name;
  std::uint64_t vm_state_size = 0;  ///< bytes
  std::uint32_t date_sec = 0;       ///< since 1970, UTC
  std::uint32_t date_nsec = 0;
  std::uint64_t vm_clock_nsec = 0;
  std::optional<std::uint64_t> icount;
};

/// A persistent dirty bitmap.
struct BitmapInfo {
  std::string name;
  std::uint64_t granularity = 0;  ///< guest bytes for one bit
  bool in_use = false;            ///< not written back by its last user: not to be trusted
  bool automatic = false;         ///< records writes
};

/// What only qcow2 has.
struct Qcow2Info {
  unsigned version = 3;
  std::string compression_type;
  bool lazy_refcounts = false;
  unsigned refcount_bits = 16;
  std::optional<std::string> data_file;
  bool data_file_raw = false;
  bool corrupt = false;
  bool extended_l2 = false;
  std::vector<BitmapInfo> bitmaps;
};

struct ImageInfo {
  std::string filename;
  std::string format;
  std::uint64_t virtual_size = 0;             ///< bytes
  std::optional<std::uint64_t> actual_size;   ///< bytes on the filesystem
  std::optional<std::uint64_t> cluster_size;  ///< bytes
  bool dirty = false;
  bool encrypted = false;
  bool compressed = false;
  std::optional<std::string> backing_file;       ///< as the image has it
  std::optional<std::string> full_backing_file;  ///< as it would be opened
  std::optional<std::string> backing_format;
  std::vector<SnapshotInfo> snapshots;
  std::optional<Qcow2Info> qcow2;
};

}  // namespace platter
