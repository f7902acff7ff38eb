// The safety inspection of an image from elsewhere: what it is, and whether it is safe to use.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/cancel.h"
#include "io/error.h"
#include "io/file.h"
#include "io/task.h"

namespace platter {

/// One thing that the inspection found. Codes are stable: they are added, never renamed or reused
/// (docs/inspect.md lists them).
struct Finding {
  std::string_view code;                ///< "backing-file", ...
  std::string message;                  ///< one line; names from an image are escaped
  std::optional<std::uint64_t> offset;  ///< the place in the file, in bytes
  bool unsafe = true;                   ///< false: worth knowing, no reason to refuse
};

struct InspectOptions {
  /// What whoever brought the image says that it is; empty: nothing was said.
  std::string declared;
  /// The largest guest disk that is taken, in bytes.
  std::optional<std::uint64_t> virtual_size_max;
  const CancelToken* cancel = nullptr;
};

struct Inspection {
  /// raw, qcow2, luks, gpt, mbr, iso, vmdk, vhd, vhdx, vdi, qed; empty: several of them, or one that
  /// is known only to be none of these.
  std::string format;
  /// Every format whose marks the file carries, in the order above; none where it is raw.
  std::vector<std::string> matches;
  std::uint64_t file_size = 0;                ///< bytes
  std::optional<std::uint64_t> virtual_size;  ///< bytes; nothing where it could not be told
  std::vector<Finding> findings;
  std::uint64_t bytes_read = 0;

  bool safe() const noexcept;
};

/// Whether inspect_file() takes the name as a declaration: the formats above, and vpc for vhd.
bool is_inspected_format(std::string_view name) noexcept;

/// Looks at the content, not at the name. Reads at most kInspectionReadMax bytes, holds as much in
/// memory, and opens nothing else, whatever the image refers to. Safe is a file that is of exactly one
/// format (a hybrid iso also carries a partition table; the disk in a fixed vhd does, too), the declared
/// one (a partition table counts as raw), sound in what was read, and refers to no other file.
///
/// Whoever uses the image afterwards uses the same open file with the format that was found: a name
/// may lead elsewhere by then.
/// Errors: invalid_argument (the declaration), io, cancelled. Everything else is a finding.
Task<Inspection> inspect_file(File& file, InspectOptions options);

/// The same on a descriptor that stays the caller's, open for reading; its file offset and flags stay
/// as they are. `name` is for messages. Errors: wrong_type, too. REQUIRES: a ring.
Task<Inspection> inspect_descriptor(int fd, std::string name, InspectOptions options);

inline constexpr std::uint64_t kInspectionReadMax = std::uint64_t{8} << 20;

}  // namespace platter
