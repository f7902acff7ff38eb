// Options of an image changed that was made with others.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "formats/qcow2/header.h"
#include "formats/qcow2/writing.h"
#include "io/cancel.h"
#include "io/task.h"

namespace platter::qcow2 {

/// What is not given stays as it is. Values may be anything.
struct AmendOptions {
  std::optional<unsigned> version;          ///< 2 or 3
  std::optional<std::uint64_t> size;        ///< guest bytes; 0: as if not given
  std::optional<std::string> backing_file;  ///< these two only as they are
  std::optional<std::string> backing_format;
  std::optional<bool> lazy_refcounts;
  std::optional<std::uint64_t> refcount_bits;
  std::optional<std::string> data_file;  ///< its name; empty: none
  std::optional<bool> data_file_raw;     ///< true only where it is so already

  const CancelToken* cancel = nullptr;
  /// Told once how many bytes of metadata are to be looked at, and then of each part.
  std::function<void(std::uint64_t bytes)> on_total = nullptr;
  std::function<void(std::uint64_t bytes)> on_done = nullptr;
};

/// What is to be done, in this order. Each step is durable before the next one and leaves an image
/// that is whole: one that holds the same, or that has the new size.
struct AmendPlan {
  bool complete_snapshots = false;         ///< the table of version 3 holds more
  std::optional<Header> header;            ///< version 3, the data file's name, feature bits
  std::optional<unsigned> refcount_order;  ///< new refcount structures
  std::optional<std::uint64_t> size;       ///< of the disk
  bool downgrade = false;                  ///< zero clusters; then the header of version 2
};

/// Checks everything that can be known beforehand, in QEMU's order, and changes nothing.
/// `memory_max` bytes for refcount blocks.
///
/// Errors, in QEMU's words where it has some: invalid_argument, unsupported, too_large (a count that
/// has no room in the new width, the size), no_space (the header), corrupt_image, cancelled, io.
Task<AmendPlan> plan_amend(AmendOptions options, Writing& writing, std::size_t memory_max);

/// The header with what the plan's one says of version, feature bits and data file.
Header with_options(Header header, const Header& planned);
/// The same header as one of version 2. REQUIRES: a plan with `downgrade`, and all before it done.
Header downgraded(Header header);

}  // namespace platter::qcow2
