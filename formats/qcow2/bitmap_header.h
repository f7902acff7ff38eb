// The bitmaps extension in a header that is on disk: put in, changed and taken out, step by step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "formats/qcow2/header.h"
#include "io/error.h"

namespace platter::qcow2 {

/// Whole sectors of the header's cluster.
struct HeaderStep {
  std::uint64_t offset = 0;
  std::vector<std::byte> bytes;
};

/// How to make a header say that bitmaps are there, or that none are (nothing), with its autoclear
/// bit: steps of which each is durable before the next begins. Extensions may lie behind the first
/// sector, and writing several sectors is not atomic; so a step changes one sector, or bytes that
/// nobody looks at then. After each of them, torn or not, the header parses, and says what it said
/// before, or what it should say, or that there are no bitmaps; all else stays what it is. Only
/// extensions that nobody knows and that follow on this one are lost by a crash while it is taken
/// out. (QEMU writes none.)
///
/// `cluster` is the first one, all of it. Errors: no_space (no room in it), unsupported (version 2;
/// extensions without an end mark), corrupt_image.
Result<std::vector<HeaderStep>> plan_bitmaps_extension(
    std::span<const std::byte> cluster, const std::optional<BitmapsExtension>& wanted);

}  // namespace platter::qcow2
