// Opening an image by name.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "formats/image.h"
#include "formats/image_name.h"
#include "formats/open_policy.h"
#include "io/cancel.h"
#include "io/direct_file.h"

namespace platter {

/// What the opener is going to do, which decides the access mode and QEMU's locks.
enum class OpenPurpose : std::uint8_t {
  inspect,      ///< metadata only; takes no lock
  read,         ///< shares everything
  read_stable,  ///< others may not write or resize meanwhile
  write,        ///< shares everything, as qemu-img does
  write_whole,  ///< rewrites all of it: others may not write or resize meanwhile
  resize,
};

/// Which one: the first one that the name means (see means_file()); without: the image's own backing
/// file. Where the chain has none, none is opened so.
struct WritableBacking {
  std::optional<std::string> name;
};

struct OpenOptions {
  OpenPurpose purpose = OpenPurpose::read;
  /// The format by name; empty: decided by content, as raw only when nothing else matches.
  std::string format;
  CacheUse cache = CacheUse::direct_if_possible;
  Durability durability = Durability::on_flush;
  /// Take no lock and heed none (`-U`). Only for inspect and read purposes.
  bool force_share = false;
  /// qcow2, version 3: what the guest discards, or zeroes and lets go, stays allocated as zero
  /// clusters in the same place, so that images do not fragment; their file's space is given back.
  bool discard_no_unref = false;
  /// Opens no backing file: what the image leaves to it reads as zeroes. For those who give the
  /// image another one.
  bool without_backing = false;
  /// An image of the backing chain is opened for writing, too; all of it is locked accordingly.
  std::optional<WritableBacking> writable_backing = std::nullopt;
};

/// Tells how the format was decided: writing to a raw image that was only guessed to be raw lets
/// its guest turn it into another format.
struct OpenedImage {
  std::unique_ptr<Image> image;
  bool format_was_guessed = false;
  /// The writable backing image, where that was guessed to be raw; else empty.
  std::string guessed_backing;
};

/// Errors: not_found, permission, wrong_type, in_use, unknown_format, refused_by_policy,
/// corrupt_image, io. Nothing stays open or locked then.
Task<OpenedImage> open_image(ImageName name, OpenOptions options, OpenPolicy policy);

/// An image's own file, for those who work below its format (check).
struct OpenedFile {
  std::unique_ptr<File> file;
  std::string name;  ///< for messages: the path, or JSON where that does not tell all
  std::string format;
  bool format_was_guessed = false;
};
/// Opens and locks the named file alone, and decides its format; nothing in it is believed yet.
/// Errors: as open_image().
Task<OpenedFile> open_image_file(ImageName name, OpenOptions options, OpenPolicy policy);

/// The locks for a purpose, or none.
FileOptions file_options(const OpenOptions& options);

}  // namespace platter
