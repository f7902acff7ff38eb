// Compressed clusters, read.
#pragma once

#include <cstddef>
#include <span>

#include "formats/qcow2/format.h"
#include "io/error.h"

namespace platter::qcow2 {

/// Fills `cluster` from the compressed bytes, which may be followed by others (a descriptor counts
/// whole sectors). zlib: a raw deflate stream; zstd: one or more frames that end exactly at the
/// cluster's size. Never writes past `cluster`. Any thread; takes milliseconds at most.
/// Errors: corrupt_image, out_of_memory.
Result<void> decompress(CompressionType type, std::span<const std::byte> compressed,
                        std::span<std::byte> cluster);

}  // namespace platter::qcow2
