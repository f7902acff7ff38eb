// The options that single block drivers take: read, checked, taken out of what was given.
//
// What can't change results here is accepted (asynchronous I/O by another mechanism, cache sizes,
// lazy refcounts, which are never needed); what is unknown is left, and refused at the end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "formats/block_options.h"
#include "formats/open.h"
#include "io/direct_file.h"

namespace platter {

/// What every node takes. A node inherits what it is not given from the one that stands on it.
struct NodeOptions {
  std::string name;  ///< empty: none
  bool read_only = false;
  bool force_share = false;
  std::optional<bool> direct;    ///< cache.direct
  std::optional<bool> no_flush;  ///< cache.no-flush

  /// The same for the node below.
  NodeOptions inherited() const;
  void apply_to(FileOptions& file) const;
};
/// Errors: invalid_argument, in QEMU's words.
Result<NodeOptions> take_node_options(BlockOptions& options, const NodeOptions& inherited);

/// True for drivers that have no node below them: file, host_device.
bool is_file_driver(std::string_view driver) noexcept;

/// A file or a device.
struct FileNodeOptions {
  std::string filename;
  bool lock = true;
};
Result<FileNodeOptions> take_file_options(BlockOptions& options, const NodeOptions& node);

/// raw: a part of the file.
struct WindowOptions {
  std::uint64_t offset = 0;           ///< bytes
  std::optional<std::uint64_t> size;  ///< bytes; nothing: to the file's end
};
Result<WindowOptions> take_raw_options(BlockOptions& options);

struct Qcow2NodeOptions {
  bool discard_no_unref = false;
  std::optional<std::uint64_t> l2_cache_entry_size;  ///< bytes, checked once clusters are known
  std::optional<std::string> encrypt_format;
};
Result<Qcow2NodeOptions> take_qcow2_options(BlockOptions& options);

/// Whatever is left is unknown. Errors: invalid_argument.
Result<void> check_nothing_left(const BlockOptions& options, std::string_view driver);

}  // namespace platter
