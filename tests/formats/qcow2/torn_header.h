// Headers that are changed in several steps, on a disk that may lose power at each of them.
#pragma once

#include <cstddef>
#include <cstring>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/bitmap_header.h"
#include "formats/qcow2/header_change.h"
#include "formats/qcow2/header_encode.h"
#include "io/bytes.h"

namespace platter::qcow2::test {

/// The first cluster that encode_header() makes.
inline std::vector<std::byte> cluster_of(const Header& header) {
  std::vector<std::byte> bytes = encode_header(header).value();
  bytes.resize(header.cluster_size());
  return bytes;
}

/// Does a step, and has `look` see all that a crash may make of it: each sector old or new. A step has
/// `sectors_max` of them at most.
inline void tear(const HeaderStep& step, std::size_t sectors_max, std::vector<std::byte>& cluster,
                 const std::function<void(const std::vector<std::byte>&)>& look) {
  ASSERT_TRUE(is_aligned(step.offset, kSectorSize) && !step.bytes.empty() &&
              is_aligned(step.bytes.size(), kSectorSize));
  const std::size_t sectors = step.bytes.size() / kSectorSize;
  ASSERT_LE(sectors, sectors_max);
  for (std::size_t torn = 0; torn < (std::size_t{1} << sectors); ++torn) {
    std::vector<std::byte> state = cluster;
    for (std::size_t i = 0; i < sectors; ++i) {
      if (((torn >> i) & 1) == 0) continue;
      std::memcpy(state.data() + step.offset + i * kSectorSize, step.bytes.data() + i * kSectorSize,
                  kSectorSize);
    }
    look(state);
  }
  apply_steps(std::span(&step, 1), cluster);
}

}  // namespace platter::qcow2::test
