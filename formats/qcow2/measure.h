// How large a new qcow2 image would be.
#pragma once

#include <cstdint>
#include <span>

#include "formats/image_info.h"
#include "formats/qcow2/create_options.h"
#include "io/error.h"

namespace platter::qcow2 {

/// Bytes of the file.
struct FileSizes {
  std::uint64_t required = 0;         ///< with `data_bytes` of data and no more
  std::uint64_t fully_allocated = 0;  ///< with all of the disk
};

/// Of an image with these clusters, entries, refcounts and preallocation; metadata is counted as of
/// one with all of its data, as QEMU does. `data_bytes` is a multiple of the cluster size, at most the disk's
/// size rounded up to that. Errors: as check() for these options.
Result<FileSizes> measure(const CreateOptions& options, std::uint64_t data_bytes);

/// Whether the format can hold a disk of options.size. Errors: too_large, in qemu-img's words.
Result<void> check_disk_size(const CreateOptions& options);

/// What bitmaps of a disk of `size` bytes take in an image with these clusters, if all of their bits are stored.
/// Those in use count, too, as they do for QEMU.
std::uint64_t measure_bitmaps(std::span<const BitmapInfo> bitmaps, std::uint64_t size,
                              std::uint64_t cluster_size);

}  // namespace platter::qcow2
