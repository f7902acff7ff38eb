// Checking a qcow2 image's metadata, and repairing it. Offline: the image is not in use.
#pragma once

#include <cstdint>
#include <limits>

#include "formats/qcow2/check_report.h"
#include "formats/qcow2/header.h"
#include "io/cancel.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

enum class Repair : std::uint8_t {
  none,
  leaks,  ///< counts that are too high
  all,    ///< and everything else that can be mended
};

struct CheckOptions {
  Repair repair = Repair::none;
  /// Bytes for the counts, which take one refcount's width for each cluster of the file, where it
  /// holds something; some 32 MiB come to that.
  std::uint64_t memory_max = std::numeric_limits<std::uint64_t>::max();
  const CancelToken* cancel = nullptr;
  /// Told each thing that is wrong or changed, one line, in qemu-img's words.
  CheckMessages::Handler on_message = nullptr;
  std::uint64_t messages_max = 1'000'000;
};

/// Adds up all references to the image's clusters and compares them with the refcounts on disk and
/// with the COPIED flags. Reads metadata alone: not guest data, backing files or data files.
///
/// A repair changes `header` along with the file. New structures are complete and durable before
/// one write of the header's first sector refers to them, and what they replace is given up after
/// that; all else changes counts, flags or single entries in place. So a crash or an error at any
/// point leaves an image that is no worse than before. What it clears at the end: the dirty
/// and the corrupt bit, if nothing was left that is corrupt; at the start: autoclear bits that are
/// not known. A repair asks for an image that nobody else uses.
///
/// Time and memory are bounded by the file's size, whatever the image claims.
/// Errors: io, no_space, too_large, corrupt_image (what is too broken to be counted), cancelled.
Task<CheckReport> check_refcounts(Header& header, File& file, CheckOptions options);

/// Reads the header as a check needs it: one with an impossible snapshot table is taken.
/// Errors: as parse_header(), io.
Task<Header> read_header_for_check(File& file);

/// Clears the dirty and the corrupt bit, after a flush. For whoever has made sure that the
/// refcounts are right. Errors: io.
Task<void> mark_consistent(Header& header, File& file);

}  // namespace platter::qcow2
