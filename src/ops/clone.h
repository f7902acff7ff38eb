// Another image with the same contents, by the cheapest means there are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "io/cancel.h"
#include "io/task.h"
#include "src/ops/progress.h"

namespace platter {

enum class CloneMode : std::uint8_t {
  automatic,  ///< the first of the following that can be done
  reflink,    ///< a file of the same format that shares the source's blocks
  copy,       ///< a file of the same format, copied by the kernel where it can, holes kept
  overlay,    ///< a new qcow2 image that stands on the source
};
/// The name as in `--mode=`: "auto", "reflink", "copy", "overlay".
std::string_view to_string(CloneMode mode) noexcept;
/// Errors: invalid_argument.
Result<CloneMode> parse_clone_mode(std::string_view name);

struct CloneOptions {
  std::string source;
  std::string source_format;  ///< empty: by content
  std::string target;         ///< must not exist
  CloneMode mode = CloneMode::automatic;
  bool force_share = false;  ///< take no lock on the source and heed none
  const CancelToken* cancel = nullptr;
  Progress* progress = nullptr;
};

struct CloneResult {
  CloneMode mode = CloneMode::automatic;    ///< what was done
  std::string format;                       ///< of the new image
  std::uint64_t virtual_size = 0;           ///< bytes
  std::optional<std::string> backing_file;  ///< as the new image has it
  /// Automatic: why what comes before in the list was not done, one line for people.
  std::optional<std::string> reason;
};

/// The target gets its name once it is whole and durable; on an error there is none. The source is
/// locked against writers meanwhile. Only its header is read: neither backing file nor data file is
/// opened.
///
/// A copy of a qcow2 file refers to what its source refers to. So one whose backing file's name would
/// mean another file in the target's folder is refused (invalid_argument), and so is one with a data
/// file, which both would write to (unsupported). An overlay refers to the source: by its name in the
/// same folder, else by its absolute path.
/// Errors: those, already_exists, in_use, unsupported (reflink), cancelled, and those of opening.
Task<CloneResult> clone_image(CloneOptions options);

}  // namespace platter
