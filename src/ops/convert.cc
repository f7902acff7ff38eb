#include "src/ops/convert.h"

#include <memory>
#include <utility>

#include "formats/raw/raw_create.h"
#include "formats/raw/raw_image.h"
#include "formats/reference.h"
#include "io/bytes.h"
#include "src/ops/backing.h"
#include "src/ops/concat_image.h"
#include "src/ops/luks_target.h"
#include "src/ops/pipe_copy.h"
#include "src/ops/qcow2_target.h"
#include "src/ops/snapshot.h"
#include "src/ops/target.h"

namespace platter {
namespace {

Task<void> in_context(Task<void> task, std::string context) {
  Result<void> result = co_await std::move(task).result();
  if (!result) co_await fail(std::move(result.error()).with_context(context));
}

template <class T>
Task<T> in_context(Task<T> task, std::string context) {
  Result<T> result = co_await std::move(task).result();
  if (!result) co_return fail(std::move(result.error()).with_context(context));
  co_return std::move(*result);
}

class Conversion {
 public:
  explicit Conversion(ConvertOptions& options) : options_(options) {}
  Task<ConvertResult> run();

 private:
  Task<void> open_sources();
  Task<ConvertResult> from_pipe();
  Task<CopyStats> take_from_pipe(Image& target, bool may_grow);
  Task<CopyStats> to_pipe();
  Task<OpenedImage> open_existing();
  CreateOptions create_options(std::uint64_t size) const;
  Task<ConvertResult> into_existing();
  Task<ConvertResult> into_created();
  Task<ConvertResult> into_raw();
  Task<ConvertResult> into_qcow2();
  Task<ConvertResult> into_luks();
  Task<std::unique_ptr<Image>> open_target_backing();
  Task<bool> try_reflink(DirectFile& file);
  bool may_reflink() const;
  Result<void> check_distinct(const File& target) const;
  void apply_window();
  std::string create_context() const {
    if (!options_.create_words.empty()) return options_.target + ": " + options_.create_words;
    return options_.target + ": error while converting " + options_.target_format;
  }

  ConvertOptions& options_;
  std::unique_ptr<Image> source_;
  bool skips_too_much_ = false;
  std::optional<BitmapSource> bitmaps_;  // that are to be copied
  std::vector<FileId> source_ids_;
};

Task<ConvertResult> Conversion::run() {
  if (options_.source_pipe) co_return co_await from_pipe();
  co_await open_sources();
  if (options_.target_pipe) {
    ConvertResult result{.stats = co_await to_pipe()};
    co_await source_->close();
    co_return result;
  }
  const bool existing = options_.target_mode == TargetMode::existing;
  ConvertResult result = existing ? co_await into_existing() : co_await into_created();
  co_await source_->close();
  result.skips_too_much = skips_too_much_;
  co_return result;
}

Task<CopyStats> Conversion::to_pipe() {
  PipeWriter& target = *options_.target_pipe;
  if (options_.target_format == "luks") {
    co_return fail(ErrorKind::unsupported, "A LUKS image can't be written to a pipe");
  }
  if (options_.target_format == "raw")
    co_return co_await copy_to_pipe(*source_, target, options_.copy);
  co_return co_await copy_to_pipe_as_qcow2(*source_, target, options_.qcow2, options_.copy);
}

Task<CopyStats> Conversion::take_from_pipe(Image& target, bool may_grow) {
  CopyOptions copy = options_.copy;
  copy.target_is_zero = copy.target_is_zero || may_grow;
  if (options_.compress) {
    const ImageInfo info = co_await target.info();
    copy.compress_unit = info.cluster_size.value_or(0);
  }
  co_return co_await copy_from_pipe(*options_.source_pipe, target, may_grow,
                                    /*any_format=*/options_.source_format == "raw",
                                    std::move(copy));
}

// The same ways as with a source of known size, but that the target grows as bytes come.
Task<ConvertResult> Conversion::from_pipe() {
  ConvertResult result;
  if (options_.target_mode == TargetMode::existing) {
    const OpenedImage opened = co_await open_existing();
    result.stats = co_await take_from_pipe(*opened.image, /*may_grow=*/false);
    co_await opened.image->finish();
    co_await opened.image->close();
    co_return result;
  }
  co_await plain_path(options_.target);
  if (options_.target_format == "luks") {
    co_return fail(ErrorKind::unsupported, "A LUKS image can't be made from a pipe");
  }
  if (options_.target_format == "qcow2") {
    const CreateOptions create = create_options(/*size=*/0);
    Qcow2Target target(create, options_.target_cache, options_.target_durability);
    co_await in_context(target.begin(), create_context());
    const std::unique_ptr<Image> image = co_await target.open(nullptr);
    result.stats = co_await take_from_pipe(*image, /*may_grow=*/true);
    co_await image->finish();
    co_await target.complete();
    co_await image->close();
    co_return result;
  }
  Target target =
      co_await in_context(open_target(options_.target, options_.target_cache,
                                      options_.target_durability, options_.target_lookup),
                          create_context());
  DirectFile& file = *target.file;
  co_await in_context(clear_target(file, options_.attributes), create_context());
  const std::unique_ptr<Image> image =
      co_await RawImage::open(std::move(target.file), options_.target);
  result.stats = co_await take_from_pipe(*image, !file.traits().is_block_device);
  co_await complete_target(target.unpublished.get(), file);
  co_await image->close();
  co_return result;
}

Task<void> Conversion::open_sources() {
  std::vector<std::unique_ptr<Image>> parts;
  for (const ImageName& name : options_.sources) {
    const OpenOptions open{.purpose = OpenPurpose::read_stable,
                           .format = options_.source_format,
                           .cache = options_.source_cache,
                           .force_share = options_.force_share};
    OpenedImage opened = co_await in_context(open_image(name, open, options_.policy),
                                             "Could not open '" + name.text() + "'");
    for (const FileId& id : files_of_chain(*opened.image)) source_ids_.push_back(id);
    parts.push_back(std::move(opened.image));
  }
  const std::uint64_t size_now = parts.front()->virtual_size();
  if (options_.snapshot) {
    if (parts.size() > 1) {
      co_await fail(ErrorKind::unsupported, "No support for concatenating multiple snapshot");
    }
    co_await in_context(show_snapshot(*parts.front(), *options_.snapshot),
                        "Failed to load snapshot");
  }
  if (options_.bitmaps.wanted) {
    if (parts.size() > 1) {
      co_await fail(ErrorKind::unsupported, "Copying bitmaps only possible with single source");
    }
    bitmaps_ = co_await find_bitmaps(*parts.front(), options_.bitmaps);
    bitmaps_->size = size_now;  // a snapshot may have had another one
  }
  source_ = co_await ConcatImage::make(std::move(parts));
  if (options_.window) apply_window();
}

void Conversion::apply_window() {
  const ByteWindow window = window_of(*options_.window, source_->virtual_size());
  skips_too_much_ = window.skips_too_much;
  const bool whole = window.offset == 0 && window.length == source_->virtual_size();
  if (!whole) {
    source_ = std::make_unique<WindowImage>(std::move(source_), window);
    options_.reflink = false;
  }
}

// QEMU's locks refuse this already, unless they were not asked for.
Result<void> Conversion::check_distinct(const File& target) const {
  for (const FileId& id : source_ids_) {
    if (target.id() == id) {
      return fail(ErrorKind::in_use, "'" + target.name() + "' is a source of this conversion");
    }
  }
  return {};
}

Task<OpenedImage> Conversion::open_existing() {
  const OpenOptions open{.purpose = OpenPurpose::write_whole,
                         .format = options_.target_format,
                         .cache = options_.target_cache,
                         .durability = options_.target_durability};
  co_return co_await in_context(
      open_image(options_.existing_target.value_or(options_.target), open, options_.policy),
      "Could not open '" + options_.target + "'");
}

Task<ConvertResult> Conversion::into_existing() {
  const OpenedImage opened = co_await open_existing();
  Image& target = *opened.image;
  co_await check_distinct(target.file());
  if (target.virtual_size() < source_->virtual_size()) {
    co_return fail(ErrorKind::no_space, "output file is smaller than input file");
  }
  ConvertResult result;
  CopyOptions copy = options_.copy;
  if (options_.compress) {
    const ImageInfo info = co_await target.info();
    copy.compress_unit = info.cluster_size.value_or(0);
  }
  if (bitmaps_) co_await check_takes_bitmaps(*bitmaps_, target);
  result.stats = co_await copy_image(*source_, target, std::move(copy));
  if (bitmaps_) co_await copy_bitmaps(*bitmaps_, target, options_.bitmaps);
  co_await target.finish();
  co_await target.close();
  co_return result;
}

Task<ConvertResult> Conversion::into_created() {
  co_await plain_path(options_.target);  // its error has no context, as qemu-img has it
  const bool qcow2 = options_.target_format == "qcow2";
  if (bitmaps_ && (!qcow2 || options_.qcow2.version < 3)) {
    co_return fail(no_bitmaps_in(options_.target_format));
  }
  if (qcow2) co_return co_await into_qcow2();
  if (options_.target_format == "luks") co_return co_await into_luks();
  if (options_.target_format != "raw") {
    co_return fail(ErrorKind::unknown_format, "Unknown file format");
  }
  co_return co_await into_raw();
}

// What the new image stands on: where the source stands on it too, it need not be copied.
Task<std::unique_ptr<Image>> Conversion::open_target_backing() {
  if (!options_.qcow2.backing_file) co_return nullptr;
  const OpenOptions open{.purpose = OpenPurpose::read_stable,
                         .format = options_.qcow2.backing_format.value_or(""),
                         .cache = options_.source_cache,
                         .force_share = options_.force_share};
  OpenedImage opened =
      co_await in_context(open_image(referenced_path(options_.target, *options_.qcow2.backing_file),
                                     open, options_.policy),
                          "Could not open '" + options_.target + "': Could not open backing file");
  co_return std::move(opened.image);
}

CreateOptions Conversion::create_options(std::uint64_t size) const {
  return {.filename = options_.target,
          .format = options_.target_format,
          .size = size,
          .preallocation = options_.preallocation,
          .attributes = options_.attributes,
          .qcow2 = options_.qcow2,
          .luks = options_.luks,
          .sources = source_ids_,
          .memory_max = options_.policy.memory_max,
          .lookup = options_.target_lookup,
          .cancel = options_.copy.cancel};
}

Task<ConvertResult> Conversion::into_qcow2() {
  std::unique_ptr<Image> backing = co_await open_target_backing();
  if (backing) {
    for (const FileId& id : files_of_chain(*backing)) source_ids_.push_back(id);
  }
  CopyOptions copy = options_.copy;
  copy.target_is_zero = true;
  if (backing) copy.target_backing_size = backing->virtual_size();
  if (options_.compress) copy.compress_unit = options_.qcow2.cluster_size;
  const CreateOptions create = create_options(source_->virtual_size());
  Qcow2Target target(create, options_.target_cache, options_.target_durability);
  co_await in_context(target.begin(), create_context());
  const std::unique_ptr<Image> image = co_await target.open(std::move(backing));
  ConvertResult result;
  if (bitmaps_) co_await check_takes_bitmaps(*bitmaps_, *image);
  result.stats = co_await copy_image(*source_, *image, std::move(copy));
  if (bitmaps_) co_await copy_bitmaps(*bitmaps_, *image, options_.bitmaps);
  co_await image->finish();
  co_await target.complete();
  co_await image->close();
  co_return result;
}

// All of it is written: a hole would read as noise.
Task<ConvertResult> Conversion::into_luks() {
  const CreateOptions create = create_options(source_->virtual_size());
  LuksTarget target(create, options_.target_cache, options_.target_durability);
  co_await in_context(target.begin(), create_context());
  const std::unique_ptr<Image> image = co_await target.open();
  CopyOptions copy = options_.copy;
  copy.target_is_zero = false;
  ConvertResult result{.stats = co_await copy_image(*source_, *image, std::move(copy))};
  co_await target.complete();
  co_await image->close();
  co_return result;
}

Task<ConvertResult> Conversion::into_raw() {
  Target target =
      co_await in_context(open_target(options_.target, options_.target_cache,
                                      options_.target_durability, options_.target_lookup),
                          create_context());
  DirectFile& file = *target.file;
  co_await check_distinct(file);
  co_await in_context(clear_target(file, options_.attributes), create_context());
  ConvertResult result;
  result.reflinked = co_await try_reflink(file);
  if (!result.reflinked) {
    const ResizeOptions layout{.preallocation = options_.preallocation,
                               .cancel = options_.copy.cancel};
    co_await in_context(create_raw(file, source_->virtual_size(), layout), create_context());
  }
  const std::unique_ptr<Image> image =
      co_await RawImage::open(std::move(target.file), options_.target);
  if (!result.reflinked) {
    CopyOptions copy = options_.copy;
    copy.target_is_zero = copy.target_is_zero || !file.traits().is_block_device;
    result.stats = co_await copy_image(*source_, *image, copy);
  }
  co_await complete_target(target.unpublished.get(), file);
  co_await image->close();
  co_return result;
}

bool Conversion::may_reflink() const {
  const CopyOptions& copy = options_.copy;
  return options_.reflink && options_.sources.size() == 1 &&
         options_.preallocation == Preallocation::off && copy.sparse_size != 0 &&
         copy.rate_limit == 0 && !copy.salvage && source_->format() == "raw" &&
         !source_->file().traits().is_block_device;
}

// All of the source's blocks in one call; afterwards the file has the source's size.
Task<bool> Conversion::try_reflink(DirectFile& file) {
  if (!may_reflink() || file.traits().is_block_device) co_return false;
  const std::uint64_t length = co_await source_->file().size();
  if (length == 0) co_return false;
  Result<void> cloned = co_await file.clone_from(source_->file(), 0, 0, length).result();
  if (!cloned && cloned.error().kind() == ErrorKind::unsupported) co_return false;
  if (!cloned) co_return fail(std::move(cloned.error()));
  const std::uint64_t size = co_await file.size();
  if (size < source_->virtual_size()) co_await file.truncate(source_->virtual_size());
  co_return true;
}

}  // namespace

Task<ConvertResult> convert(ConvertOptions options) {
  Conversion conversion(options);
  co_return co_await conversion.run();
}

}  // namespace platter
