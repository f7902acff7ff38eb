#include "src/ops/copy_bitmaps.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include <fmt/format.h>

#include "formats/qcow2/bitmaps.h"
#include "formats/qcow2/qcow2_image.h"
#include "io/check.h"

namespace platter {
namespace {

qcow2::Qcow2Image* with_bitmaps(Image& image) {
  auto* const qcow2 = dynamic_cast<qcow2::Qcow2Image*>(&image);
  return qcow2 != nullptr && qcow2->header().version >= 3 ? qcow2 : nullptr;
}

Task<void> copy_one(qcow2::Qcow2Image& from, qcow2::Bitmaps& to, BitmapInfo bitmap) {
  const qcow2::NewBitmap wanted{
      .name = bitmap.name, .granularity = bitmap.granularity, .enabled = bitmap.automatic};
  Result<void> made = co_await to.add(wanted).result();
  if (!made) {
    co_await fail(std::move(made.error()).with_context("Failed to create bitmap " + bitmap.name));
  }
  Result<qcow2::DirtyBits> bits = co_await from.read_bitmap(bitmap.name).result();
  Result<void> filled;
  if (bits) {
    filled = co_await to.merge(bitmap.name, *bits).result();
  } else {
    filled = fail(std::move(bits.error()));
  }
  if (filled) co_return;
  co_await to.remove(bitmap.name);
  co_await fail(std::move(filled.error()).with_context("Failed to populate bitmap " + bitmap.name));
}

}  // namespace

// qemu-img has them in memory the other way round, and tells of the last one first.
Task<BitmapSource> find_bitmaps(Image& source, const BitmapCopyOptions& options) {
  if (with_bitmaps(source) == nullptr) {
    co_return fail(ErrorKind::unsupported, "Source lacks bitmap support");
  }
  ImageInfo info = co_await source.info();
  BitmapSource found{
      .image = &source, .size = source.virtual_size(), .bitmaps = std::move(info.qcow2->bitmaps)};
  for (const BitmapInfo& bitmap : found.bitmaps | std::views::reverse) {
    if (!bitmap.in_use || options.skip_inconsistent) continue;
    co_return fail(
        ErrorKind::corrupt_image,
        fmt::format("Cannot copy inconsistent bitmap '{}'\nTry --skip-broken-bitmaps, or use "
                    "'qemu-img bitmap --remove' to delete it",
                    bitmap.name));
  }
  co_return found;
}

Result<void> check_takes_bitmaps(const BitmapSource& source, Image& target) {
  qcow2::Qcow2Image* const qcow2 = with_bitmaps(target);
  if (qcow2 == nullptr) return fail(no_bitmaps_in(target.format()));
  const std::vector<qcow2::BitmapEntry> there = qcow2->bitmaps()->list();
  for (const BitmapInfo& bitmap : source.bitmaps | std::views::reverse) {
    if (bitmap.in_use) continue;
    if (std::ranges::find(there, bitmap.name, &qcow2::BitmapEntry::name) != there.end()) {
      return fail(
          ErrorKind::already_exists,
          fmt::format("Failed to create bitmap {0}: Bitmap already exists: {0}", bitmap.name));
    }
    if (target.virtual_size() == source.size) continue;
    return fail(ErrorKind::invalid_argument,
                fmt::format("Failed to populate bitmap {}: Bitmaps are of different sizes "
                            "(destination size is {}, source size is {}) and can't be merged",
                            bitmap.name, target.virtual_size(), source.size));
  }
  return {};
}

Error no_bitmaps_in(std::string_view format) {
  return {ErrorKind::unsupported,
          fmt::format("Format driver '{}' does not support bitmaps", format)};
}

Task<void> copy_bitmaps(const BitmapSource& source, Image& target, BitmapCopyOptions options) {
  qcow2::Qcow2Image* const from = with_bitmaps(*source.image);
  qcow2::Qcow2Image* const to = with_bitmaps(target);
  PLATTER_CHECK(from != nullptr && to != nullptr && to->bitmaps() != nullptr);
  for (const BitmapInfo& bitmap : source.bitmaps) {
    if (!bitmap.in_use) co_await copy_one(*from, *to->bitmaps(), bitmap);
  }
  for (const BitmapInfo& bitmap : source.bitmaps | std::views::reverse) {
    if (bitmap.in_use && options.on_skipped) options.on_skipped(bitmap.name);
  }
}

}  // namespace platter
