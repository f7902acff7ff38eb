// The files below formats: opened one by one, each looked at before, none twice.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "formats/block_options.h"
#include "formats/node_options.h"
#include "formats/open_policy.h"
#include "io/direct_file.h"
#include "io/task.h"

namespace platter {

/// A format's "file": a file or a device, or a part of one.
struct FileNode {
  std::unique_ptr<File> file;
  DirectFile* direct = nullptr;  ///< the one at the bottom; belongs to `file`
  std::string path;              ///< of that
  bool plain = true;             ///< the path says all of it: no part
  std::string json;              ///< the node as a JSON object, as QEMU shows it

  /// How an image is called that is this node, and nothing else.
  std::string shown_name() const { return plain ? path : "json:" + json; }
};

/// A node that is yet to be opened.
struct FileNodeRequest {
  BlockOptions options;
  NodeOptions parent;       ///< what the node that stands on it was given
  FileOptions file;         ///< access, cache and locks, before the options change them
  bool referenced = false;  ///< an image named it: the policy's folders hold
};

/// Opens files under a policy for one image and what that stands on.
class FileNodeOpener {
 public:
  explicit FileNodeOpener(const OpenPolicy& policy) : policy_(policy) {}

  /// Errors: those of DirectFile::open(); invalid_argument (options), refused_by_policy,
  /// corrupt_image (the chain has it already), unsupported.
  Task<FileNode> open(FileNodeRequest request);

  /// Takes what all nodes take. Errors: invalid_argument (a name that is taken, too); read_only, for
  /// a node that is to be written.
  Result<NodeOptions> take_options(BlockOptions& options, const NodeOptions& parent, bool writes);

 private:
  Task<FileNode> open_file(std::string driver, FileNodeRequest request);
  Task<FileNode> open_part(FileNodeRequest request);
  Result<void> approve(int path_fd, const std::string& name, const std::string& driver,
                       bool referenced);

  const OpenPolicy& policy_;
  std::vector<FileId> opened_;
  std::set<std::string> names_;
};

/// Takes the "file" of a node out of its options. `has_driver`: it was said which one the node is of.
/// Errors: invalid_argument (there is none, or it is named by a reference), in QEMU's words.
Result<BlockOptions> take_file_child(BlockOptions& options, bool has_driver);

/// A value as JSON.
std::string json_of(const OptionValue& value);

/// The part of a node's file that a raw node on it shows, as "offset" and "size" say: they are taken
/// out. Errors: those of the options and of WindowFile::make().
Task<void> make_part(FileNode& node, BlockOptions& options);

}  // namespace platter
