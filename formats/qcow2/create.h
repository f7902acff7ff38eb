// Making qcow2 images.
#pragma once

#include <cstddef>
#include <vector>

#include "formats/qcow2/create_layout.h"
#include "formats/qcow2/create_options.h"
#include "formats/qcow2/header.h"
#include "io/error.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// An image as it will be. Whatever is wrong with its options is known before a file is touched.
struct CreatePlan {
  CreateOptions options;
  Header header;
  std::vector<std::byte> header_bytes;  ///< encode_header()
  Layout layout;
};

/// Errors: as check(); no_space, invalid_argument (names too long for the header); too_large.
Result<CreatePlan> plan_image(CreateOptions options);

/// An image that is in this file is none any more, durably: before anything else of it is changed.
Task<void> invalidate_image(File& file);

/// Makes the image of an empty file or a block device, and of the data file that it is to have
/// (null: none). Byte for byte, holes included, what QEMU 7.2 makes with the same options.
///
/// Not durable before the caller's flush(), except that with options.in_place whatever a crash
/// leaves is no image: the header's first sector comes last, after a flush. (A device's old image
/// is invalidated here; a file is empty, and its caller did that.)
///
/// Takes 4 MiB of memory. Errors: no_space (also: a device too small), too_large, cancelled,
/// unsupported (preallocated space on a device), io.
Task<void> create_qcow2(File& file, File* data_file, const CreatePlan& plan);

}  // namespace platter::qcow2
