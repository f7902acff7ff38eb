#include "src/cli/io/disk.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "formats/probe.h"
#include "io/buffer_pool.h"
#include "io/bytes.h"
#include "io/ring.h"
#include "io/zero.h"
#include "src/cli/image_arguments.h"

namespace platter::cli {
namespace {

constexpr std::uint64_t kFirstSector = 512;

Result<void> check(const DiskOptions& options) {
  if (options.force_share && !options.read_only) {
    return fail(ErrorKind::invalid_argument,
                "force-share=on can only be used with read-only images");
  }
  if (options.copy_on_read && options.read_only) {
    return fail(ErrorKind::invalid_argument, "Can't use copy-on-read on read-only device");
  }
  if (options.native && options.cache != CacheUse::direct) {
    return fail(ErrorKind::invalid_argument,
                "aio=native was specified, but it requires cache.direct=on, which was not "
                "specified.");
  }
  return {};
}

}  // namespace

Task<std::unique_ptr<Disk>> Disk::open(const Context& context, DiskOptions options) {
  co_await check(options);
  const bool writes = !options.read_only && !options.snapshot;
  OpenOptions open{.purpose = writes ? OpenPurpose::write : OpenPurpose::read,
                   .format = options.format,
                   .cache = options.cache,
                   .durability = options.durability,
                   .force_share = options.force_share};
  ImageName name = co_await given_name(context, options.filename, open);
  OpenedImage opened =
      co_await open_image(std::move(name), std::move(open), context.images().policy);
  const bool guessed_raw = opened.format_was_guessed && opened.image->format() == "raw";
  if (guessed_raw && writes && !options.warned) warn_of_guess(opened.image->filename());
  Overlay overlay;
  if (options.snapshot && !options.read_only) {
    opened.image = co_await overlay.open(std::move(opened.image));
  }
  co_return std::make_unique<Disk>(std::move(opened), std::move(overlay), std::move(options));
}

Disk::Disk(OpenedImage opened, Overlay overlay, DiskOptions options)
    : options_(std::move(options)),
      overlay_(std::move(overlay)),
      image_(std::move(opened.image)),
      guessed_raw_(opened.format_was_guessed && image_->format() == "raw") {}

Result<void> Disk::check_range(std::uint64_t offset, std::uint64_t length) const {
  if (in_bounds(offset, length, image_->virtual_size())) return {};
  return fail(ErrorKind::out_of_bounds, "'" + image_->filename() + "': a request past the end");
}

Task<std::optional<AsyncMutex::Guard>> Disk::take_turn() {
  std::optional<AsyncMutex::Guard> turn;
  if (options_.copy_on_read) turn.emplace(co_await turn_.lock());
  co_return turn;
}

Task<void> Disk::read(std::uint64_t offset, std::span<std::byte> into) {
  const auto turn = co_await take_turn();
  if (options_.copy_on_read) co_await copy_up(offset, into.size());
  co_await image_->read(offset, into);
}

// Copies what the image does not have yet, in whole clusters.
Task<void> Disk::copy_up(std::uint64_t offset, std::uint64_t length) {
  co_await check_range(offset, length);
  if (length == 0) co_return;
  const ImageInfo info = co_await image_->info();
  const std::uint64_t cluster = info.cluster_size.value_or(kFirstSector);
  const std::uint64_t end = std::min(align_up(offset + length, cluster), image_->virtual_size());
  std::uint64_t at = align_down(offset, cluster);
  while (at < end) {
    // In pieces: the request may be large, and what is copied is in memory once more.
    const Allocation run =
        co_await allocation(at, std::min(end - at, align_up(16 * kMiB, cluster)));
    if (!run.allocated) co_await keep(at, run.length);
    at += run.length;
  }
}

Task<void> Disk::keep(std::uint64_t offset, std::uint64_t length) {
  const Buffer buffer = co_await Ring::current().buffers().acquire(length);
  co_await image_->read(offset, buffer.bytes());
  written_ = true;
  if (is_zero(buffer.bytes())) {
    co_await image_->write_zeroes(offset, length, ZeroMode::may_unmap);
  } else {
    co_await image_->write(offset, buffer.bytes());
  }
}

// A guest that can write another format's signature to a raw image could make the next user, who
// guesses again, open whatever that names. What is zeroed is
// no signature.
Task<void> Disk::check_first_sector(std::uint64_t offset, std::span<const std::byte> data) {
  if (!guessed_raw_ || offset >= kFirstSector || data.empty()) co_return;
  co_await check_range(offset, data.size());
  std::vector<std::byte> sector(kFirstSector);
  co_await image_->read(0, sector);
  const std::size_t count = std::min<std::size_t>(data.size(), kFirstSector - offset);
  std::memcpy(sector.data() + offset, data.data(), count);
  if (probe_format(sector) == "raw") co_return;
  co_await fail(ErrorKind::permission,
                "'" + image_->filename() + "' was opened as raw without having been told to");
}

Task<void> Disk::write(std::uint64_t offset, std::span<const std::byte> data) {
  co_await check_first_sector(offset, data);
  written_ = true;
  const auto turn = co_await take_turn();
  co_await image_->write(offset, data);
}

Task<void> Disk::write_compressed(std::uint64_t offset, std::span<const std::byte> data) {
  written_ = true;
  const auto turn = co_await take_turn();
  co_await image_->write_compressed(offset, data);
}

Task<void> Disk::write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) {
  written_ = true;
  const ZeroMode mode =
      may_unmap && options_.discard ? ZeroMode::may_unmap : ZeroMode::keep_allocated;
  const auto turn = co_await take_turn();
  co_await image_->write_zeroes(offset, length, mode);
}

Task<void> Disk::discard(std::uint64_t offset, std::uint64_t length) {
  co_await check_range(offset, length);
  if (!options_.discard) co_return;
  written_ = true;
  const auto turn = co_await take_turn();
  co_await image_->discard(offset, length);
}

Task<void> Disk::flush() { return image_->flush(); }

Task<void> Disk::resize(std::uint64_t size, ResizeOptions options) {
  written_ = true;
  const auto turn = co_await take_turn();
  co_await image_->resize(size, options);
}

Task<Disk::Allocation> Disk::allocation(std::uint64_t offset, std::uint64_t length) {
  constexpr std::size_t kBatch = 64;
  // The format decides, not the file's holes: a raw image has all its bytes.
  if (image_->format() == "raw") co_return Allocation{.allocated = true, .length = length};
  Allocation run;
  while (run.length < length) {
    const std::vector<Mapping> mappings =
        co_await image_->map(offset + run.length, length - run.length, kBatch);
    for (const Mapping& mapping : mappings) {
      const bool allocated = mapping.kind != MappingKind::unallocated;
      if (run.length > 0 && allocated != run.allocated) co_return run;
      run.allocated = allocated;
      run.length += mapping.length;
    }
  }
  co_return run;
}

Task<void> Disk::close() {
  Result<void> flushed;
  if (written_ && !options_.snapshot) flushed = co_await image_->flush().result();
  Result<void> closed = co_await image_->close().result();
  co_await std::move(flushed);
  co_await std::move(closed);
}

}  // namespace platter::cli
