// Converting images into a new or an existing one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "formats/open.h"
#include "formats/qcow2/create_options.h"
#include "formats/snapshot_key.h"
#include "io/cancel.h"
#include "io/file_attributes.h"
#include "io/pipe.h"
#include "src/ops/copy_bitmaps.h"
#include "src/ops/copy_engine.h"
#include "src/ops/create.h"
#include "src/ops/progress.h"
#include "src/ops/window_image.h"

namespace platter {

/// How much `convert` makes itself of the target.
enum class TargetMode : std::uint8_t {
  create,    ///< a new file (whole or absent), or an existing file or device made anew in place
  existing,  ///< an image that is there and keeps its size (`-n`)
};

struct ConvertOptions {
  std::vector<ImageName> sources;  ///< one after the other
  std::string source_format;       ///< empty: by content
  CacheUse source_cache = CacheUse::direct_if_possible;
  bool force_share = false;
  /// What the source held when this was taken, in the size that it had then.
  std::optional<SnapshotKey> snapshot;
  /// A part of the one source. What is skipped beyond its end leaves nothing.
  std::optional<BlockWindow> window;
  /// Persistent bitmaps of the one source, for a qcow2 target.
  BitmapCopyOptions bitmaps;

  std::string target;
  /// How an existing target is to be opened; without one: as the path `target`.
  std::optional<ImageName> existing_target;
  /// How the name of a new target is looked up; those of sources: by the policy.
  PathLookup target_lookup = nullptr;
  std::string target_format = "raw";  ///< empty, for an existing one: by content
  CacheUse target_cache = CacheUse::direct_if_possible;
  Durability target_durability = Durability::on_flush;
  TargetMode target_mode = TargetMode::create;
  Preallocation preallocation = Preallocation::off;
  FileAttributes attributes;
  /// With a new qcow2 target: all but what is said elsewhere here, and the size. A backing file
  /// must hold what the source's own backing file holds: what the source leaves to it is not copied.
  qcow2::CreateOptions qcow2;
  /// With a new luks target.
  LuksCreateOptions luks{};
  /// Write what gets smaller in compressed form.
  bool compress = false;

  /// Sharing blocks with the source is tried first, where nothing here asks for the data itself to
  /// be looked at or moved.
  bool reflink = true;
  CopyOptions copy;
  OpenPolicy policy;

  /// A raw image comes from here in place of `sources`; or the new image goes there in place of
  /// `target`, as it is made from start to end. Not both.
  std::shared_ptr<PipeReader> source_pipe;
  std::shared_ptr<PipeWriter> target_pipe;
  /// What the error of making the target says behind its name; empty: as qemu-img convert does.
  std::string create_words;
};

struct ConvertResult {
  bool reflinked = false;
  bool skips_too_much = false;  ///< the window begins behind the source's end
  CopyStats stats;
};

/// When it returns, the target is complete and durable (unless Durability::never). On an error a
/// target that did not exist does not exist; one that existed may hold a part of the new contents.
/// Errors carry qemu-img's words before the cause.
Task<ConvertResult> convert(ConvertOptions options);

}  // namespace platter
