// The words of `info`: qemu-img's, for people and as JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "formats/block_limits.h"
#include "formats/image_info.h"
#include "formats/luks/luks_info.h"

namespace platter::cli {

/// An image, what its header tells if it is a LUKS image, and what `--limits` asks for.
struct ToldImage {
  ImageInfo info;
  std::optional<LuksInfo> luks = std::nullopt;
  std::optional<BlockLimits> limits;
};

/// One image, as `qemu-img info` prints it.
std::string info_text(const ToldImage& image);

/// What only the image's format has; empty where there is nothing.
std::string format_specific_text(const ImageInfo& info);

/// One image, or with `chain` an array of all.
std::string info_json(const std::vector<ToldImage>& images, bool chain);

/// The table of internal snapshots, with a header line.
std::string snapshot_list(const std::vector<SnapshotInfo>& snapshots);

}  // namespace platter::cli
