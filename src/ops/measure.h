// How large an image would be that holds what another one holds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "formats/image.h"
#include "formats/qcow2/create_options.h"
#include "io/cancel.h"
#include "io/task.h"

namespace platter {

/// Bytes.
struct Measurement {
  std::uint64_t required = 0;
  std::uint64_t fully_allocated = 0;
  std::optional<std::uint64_t> bitmaps;  ///< that the source's bitmaps would take on top of that
};

/// Of an empty disk of options.size. `format`: raw, qcow2, or luks: without its header. Errors: as qcow2::check(); too_large.
Result<Measurement> measure_empty(const std::string& format, const qcow2::CreateOptions& options);

/// Of all that `source` shows, its backing chain included; options.size does not matter. With a backing
/// file in the options everything counts: what it shares with the source is not known.
/// Errors: those above, of reading the source, cancelled.
Task<Measurement> measure_copy(Image& source, std::string format, qcow2::CreateOptions options,
                               const CancelToken* cancel = nullptr);

}  // namespace platter
