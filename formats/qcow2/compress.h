// Compressed clusters, written.
#pragma once

#include <cstddef>
#include <span>

#include "formats/qcow2/format.h"
#include "io/error.h"

namespace platter::qcow2 {

/// Compresses a cluster into `out`; returns how many bytes it took, 0 where they are more than `out`
/// has. zlib: a raw deflate stream with a window of 4 KiB, which every reader copes with; zstd: one
/// frame. Any thread: each keeps its own state. Takes milliseconds at most.
/// Errors: out_of_memory.
Result<std::size_t> compress(CompressionType type, std::span<const std::byte> cluster,
                             std::span<std::byte> out);

}  // namespace platter::qcow2
