// What a new qcow2 image is to be like.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "formats/image.h"
#include "formats/qcow2/format.h"
#include "formats/qcow2/header.h"
#include "io/cancel.h"
#include "io/error.h"

namespace platter::qcow2 {

/// The defaults are qemu-img's. Values may be anything; check() tells what is wrong with them.
struct CreateOptions {
  std::uint64_t size = 0;              ///< guest bytes; rounded up to whole sectors
  unsigned version = 3;                ///< 2 or 3
  std::uint64_t cluster_size = 65536;  ///< bytes, a power of two from 512 to 2 MiB
  std::uint64_t refcount_bits = 16;    ///< a power of two up to 64; version 2: 16
  bool lazy_refcounts = false;         ///< version 3
  bool extended_l2 = false;            ///< version 3, clusters of 16 KiB or more
  CompressionType compression_type = CompressionType::zlib;  ///< version 2: zlib
  Preallocation preallocation = Preallocation::off;  ///< over a backing file: with extended_l2 only

  std::optional<std::string> backing_file;  ///< as it is to be written into the image
  std::optional<std::string> backing_format;
  std::optional<std::string> data_file;  ///< likewise; version 3
  bool data_file_raw = false;            ///< the data file by itself shows the guest's contents

  /// The file has its name already: a crash on the way must not leave what could be taken for a
  /// whole image.
  bool in_place = false;
  const CancelToken* cancel = nullptr;

  /// `preallocation`, or metadata where a raw data file needs its clusters mapped from the start.
  Preallocation effective_preallocation() const noexcept {
    const bool must_map = data_file_raw && preallocation == Preallocation::off;
    return must_map ? Preallocation::metadata : preallocation;
  }
};

/// The first thing that is wrong, in qemu-img's order and words. Errors: invalid_argument,
/// too_large (the size, for these clusters).
Result<void> check(const CreateOptions& options);

/// The header that says all this; tables are yet to be placed. REQUIRES: check().
Header header_of(const CreateOptions& options);

}  // namespace platter::qcow2
