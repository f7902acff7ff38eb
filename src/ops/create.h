// Creating empty images.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "crypto/secret.h"
#include "formats/image.h"
#include "formats/luks/luks1_create.h"
#include "formats/open_policy.h"
#include "formats/qcow2/create_options.h"
#include "io/cancel.h"
#include "io/file.h"
#include "io/file_attributes.h"
#include "io/task.h"

namespace platter {

/// A new LUKS image.
struct LuksCreateOptions {
  luks::Luks1CreateOptions header;
  std::shared_ptr<const Secret> passphrase;
};

struct CreateOptions {
  std::string filename;
  std::string format = "raw";  ///< or qcow2, luks
  std::uint64_t size = 0;      ///< bytes
  Preallocation preallocation = Preallocation::off;
  FileAttributes attributes;
  /// With format qcow2: all but size, preallocation, in_place and cancel, which are those here. The
  /// data file it names is made, too; a relative name means one in the current folder.
  qcow2::CreateOptions qcow2;
  /// With format luks.
  LuksCreateOptions luks{};
  /// The image's backing chain: files that are not to be overwritten.
  std::vector<FileId> sources;
  /// Bytes of metadata that it may hold in memory while it is filled.
  std::uint64_t memory_max = OpenPolicy().memory_max;
  /// How the names of the files to be made are looked up.
  PathLookup lookup = nullptr;
  const CancelToken* cancel = nullptr;
};

/// Whole or absent where the name is free; made anew in place where it exists. The same goes for an
/// external data file, which comes first. Errors carry no context; those of the file name it.
Task<void> create_image(CreateOptions options);

}  // namespace platter
