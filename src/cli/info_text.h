// The words of `info`: qemu-img's, for people and as JSON.
#pragma once

#include <string>
#include <vector>

#include "formats/image_info.h"

namespace platter::cli {

/// One image, as `qemu-img info` prints it.
std::string info_text(const ImageInfo& info);

/// What only the image's format has; empty where there is nothing.
std::string format_specific_text(const ImageInfo& info);

/// One image, or with `chain` an array of all.
std::string info_json(const std::vector<ImageInfo>& images, bool chain);

/// The table of internal snapshots, with a header line.
std::string snapshot_list(const std::vector<SnapshotInfo>& snapshots);

}  // namespace platter::cli
