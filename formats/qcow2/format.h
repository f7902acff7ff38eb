// The qcow2 format on disk: structures and entries, as in QEMU's docs/interop/qcow2.txt.
//
// An image is a row of clusters. The first holds the header. The header points at the refcount
// table (-> refcount blocks: one count for each host cluster), at the L1 table (-> L2 tables -> data
// clusters), and at the snapshot table. All integers are big-endian; all offsets count bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "io/bytes.h"

namespace platter::qcow2 {

inline constexpr std::uint32_t kMagic = 0x514649fb;  // "QFI\xfb"
inline constexpr unsigned kClusterBitsMin = 9;
inline constexpr unsigned kClusterBitsMax = 21;
inline constexpr unsigned kExtendedL2ClusterBitsMin = 14;
inline constexpr unsigned kRefcountOrderMax = 6;
inline constexpr unsigned kSubclusters = 32;
/// Bounds on what is read because a header says so (QEMU's, too).
inline constexpr std::uint64_t kL1SizeMax = 32 * kMiB;             // bytes
inline constexpr std::uint64_t kRefcountTableSizeMax = 8 * kMiB;   // bytes
inline constexpr std::uint64_t kSnapshotTableSizeMax = 64 * kMiB;  // bytes
inline constexpr std::uint32_t kSnapshotsMax = 65536;
inline constexpr std::uint32_t kBitmapsMax = 65535;
inline constexpr std::uint32_t kBackingNameMax = 1023;  // bytes

/// Section "Header". Version 2 ends after snapshots_offset.
struct DiskHeader {
  be32 magic;                     // 0
  be32 version;                   // 4    2 or 3
  be64 backing_file_offset;       // 8    0: none
  be32 backing_file_size;         // 16   bytes of the name, no terminator
  be32 cluster_bits;              // 20
  be64 size;                      // 24   guest bytes
  be32 crypt_method;              // 32   0 none, 1 AES, 2 LUKS
  be32 l1_size;                   // 36   entries
  be64 l1_table_offset;           // 40
  be64 refcount_table_offset;     // 48
  be32 refcount_table_clusters;   // 56
  be32 nb_snapshots;              // 60
  be64 snapshots_offset;          // 64
  be64 incompatible_features;     // 72
  be64 compatible_features;       // 80
  be64 autoclear_features;        // 88
  be32 refcount_order;            // 96   a count has 1 << order bits
  be32 header_length;             // 100
  std::uint8_t compression_type;  // 104  present if header_length > 104
  std::uint8_t padding[7];
};
static_assert(sizeof(DiskHeader) == 112 && alignof(DiskHeader) == 1);
static_assert(offsetof(DiskHeader, incompatible_features) == 72);
static_assert(offsetof(DiskHeader, compression_type) == 104);
inline constexpr std::uint32_t kVersion2HeaderLength = 72;
inline constexpr std::uint32_t kVersion3HeaderLength = 104;
/// The feature-name table is left out of clusters of up to so many bytes, to save room.
inline constexpr std::uint64_t kNoFeatureNamesSize = 4 * kKiB;

/// Section "Header", feature bits, by number.
inline constexpr unsigned kDirtyBit = 0;  // incompatible
inline constexpr unsigned kCorruptBit = 1;
inline constexpr unsigned kDataFileBit = 2;
inline constexpr unsigned kCompressionTypeBit = 3;
inline constexpr unsigned kExtendedL2Bit = 4;
inline constexpr unsigned kLazyRefcountsBit = 0;  // compatible
inline constexpr unsigned kBitmapsBit = 0;        // autoclear
inline constexpr unsigned kRawDataFileBit = 1;

enum class CompressionType : std::uint8_t { zlib = 0, zstd = 1 };
enum class CryptMethod : std::uint32_t { none = 0, aes = 1, luks = 2 };

/// Section "Header extensions". Data is padded to a multiple of 8.
struct DiskExtension {
  be32 type;
  be32 length;  // bytes of data, without padding
};
static_assert(sizeof(DiskExtension) == 8);
inline constexpr std::uint32_t kExtensionEnd = 0;
inline constexpr std::uint32_t kExtensionBackingFormat = 0xe2792aca;
inline constexpr std::uint32_t kExtensionFeatureNames = 0x6803f857;
inline constexpr std::uint32_t kExtensionBitmaps = 0x23852875;
inline constexpr std::uint32_t kExtensionCryptHeader = 0x0537be77;
inline constexpr std::uint32_t kExtensionDataFile = 0x44415441;

/// Section "Feature name table".
struct DiskFeatureName {
  std::uint8_t type;  // 0 incompatible, 1 compatible, 2 autoclear
  std::uint8_t bit;
  char name[46];  // padded with zeroes
};
static_assert(sizeof(DiskFeatureName) == 48);

/// Section "Bitmaps extension".
struct DiskBitmapsExtension {
  be32 nb_bitmaps;
  be32 reserved;
  be64 bitmap_directory_size;
  be64 bitmap_directory_offset;
};
static_assert(sizeof(DiskBitmapsExtension) == 24);

/// Section "Full disk encryption header pointer".
struct DiskCryptHeader {
  be64 offset;
  be64 length;
};
static_assert(sizeof(DiskCryptHeader) == 16);

/// Section "Bitmaps", "Bitmap directory". Followed by extra data and the name, padded to 8.
struct DiskBitmapEntry {
  be64 bitmap_table_offset;
  be32 bitmap_table_size;  // entries
  be32 flags;
  std::uint8_t type;  // 1: dirty tracking
  std::uint8_t granularity_bits;
  be16 name_size;
  be32 extra_data_size;
};
static_assert(sizeof(DiskBitmapEntry) == 24);
inline constexpr std::uint32_t kBitmapInUse = 1 << 0;
inline constexpr std::uint32_t kBitmapAuto = 1 << 1;

/// Section "Snapshots". Followed by extra data, id and name, padded to 8.
struct DiskSnapshot {
  be64 l1_table_offset;
  be32 l1_size;
  be16 id_size;
  be16 name_size;
  be32 date_sec;
  be32 date_nsec;
  be64 vm_clock_nsec;
  be32 vm_state_size;
  be32 extra_data_size;
};
static_assert(sizeof(DiskSnapshot) == 40);
/// Section "Snapshots", "Extra data". From version 3 on the first two are there.
struct DiskSnapshotExtra {
  be64 vm_state_size;  // bytes
  be64 disk_size;      // guest bytes
  be64 icount;         // all ones: not recorded
};
static_assert(sizeof(DiskSnapshotExtra) == 24);
inline constexpr std::uint32_t kSnapshotExtraMax = 1024;  // bytes

/// L1 and L2 entries: what this points at has a refcount of exactly 1 and may be written in place.
inline constexpr std::uint64_t kCopiedFlag = std::uint64_t{1} << 63;
inline constexpr std::uint64_t kCompressedFlag = std::uint64_t{1} << 62;
inline constexpr std::uint64_t kZeroFlag = 1;
/// Section "Refcount table entry": the offset, and what must be zero.
inline constexpr std::uint64_t kRefcountTableOffsetMask = 0xfffffffffffffe00;
inline constexpr std::uint64_t kRefcountTableReservedMask = 0x1ff;
/// Host offsets in entries end below this.
inline constexpr std::uint64_t kHostOffsetMax = std::uint64_t{1} << 56;

/// Section "L1 table entry".
class L1Entry {
 public:
  explicit constexpr L1Entry(std::uint64_t raw) noexcept : raw_(raw) {}
  /// `copied`: the table's refcount is exactly 1.
  static constexpr L1Entry make(std::uint64_t offset, bool copied) noexcept {
    return L1Entry(offset | (copied ? kCopiedFlag : 0));
  }
  /// Of an L2 table; 0: none, all of its clusters are unallocated.
  constexpr std::uint64_t offset() const noexcept { return raw_ & 0x00fffffffffffe00; }
  constexpr bool copied() const noexcept { return (raw_ & kCopiedFlag) != 0; }
  constexpr std::uint64_t raw() const noexcept { return raw_; }

 private:
  std::uint64_t raw_;
};

/// Section "L2 table entry"; the bitmap is that of "Extended L2 Entries", else 0.
class L2Entry {
 public:
  constexpr L2Entry() noexcept : L2Entry(0, 0) {}
  constexpr L2Entry(std::uint64_t raw, std::uint64_t bitmap) noexcept
      : raw_(raw), bitmap_(bitmap) {}

  static constexpr std::uint64_t bits(std::uint32_t allocated, std::uint32_t zero) noexcept {
    return (std::uint64_t{zero} << 32) | allocated;
  }
  constexpr bool operator==(const L2Entry&) const noexcept = default;

  constexpr bool compressed() const noexcept { return (raw_ & kCompressedFlag) != 0; }
  constexpr bool copied() const noexcept { return (raw_ & kCopiedFlag) != 0; }
  /// "Standard Cluster Descriptor": host offset of the cluster, 0: none (but see copied() for
  /// external data files).
  constexpr std::uint64_t offset() const noexcept { return raw_ & 0x00fffffffffffe00; }
  /// Reads as zeroes (version 3, not with extended entries).
  constexpr bool zero_flag() const noexcept { return (raw_ & kZeroFlag) != 0; }
  /// "Compressed Clusters Descriptor": the bits below the flags.
  constexpr std::uint64_t descriptor() const noexcept { return raw_ & 0x3fffffffffffffff; }
  /// Extended: subcluster n is at its place in the cluster / reads as zeroes.
  constexpr std::uint32_t allocated_bits() const noexcept {
    return static_cast<std::uint32_t>(bitmap_);
  }
  constexpr std::uint32_t zero_bits() const noexcept {
    return static_cast<std::uint32_t>(bitmap_ >> 32);
  }
  constexpr std::uint64_t raw() const noexcept { return raw_; }
  constexpr std::uint64_t bitmap() const noexcept { return bitmap_; }

 private:
  std::uint64_t raw_;
  std::uint64_t bitmap_;
};

}  // namespace platter::qcow2
