#include "src/ops/bitmap.h"

#include <utility>

#include <fmt/format.h>

#include "formats/qcow2/bitmaps.h"
#include "formats/qcow2/qcow2_image.h"

namespace platter {
namespace {

Error not_found(const std::string& name) {
  return {ErrorKind::not_found, fmt::format("Dirty bitmap '{}' not found", name)};
}

Task<qcow2::DirtyBits> read_source(Image& image, std::string name) {
  auto* const qcow2 = dynamic_cast<qcow2::Qcow2Image*>(&image);
  if (qcow2 == nullptr) co_return fail(not_found(name));
  co_return co_await qcow2->read_bitmap(std::move(name));
}

Task<void> merge(qcow2::Bitmaps& bitmaps, std::string name, Image& image, std::string source) {
  Result<void> usable = bitmaps.check_usable(name);
  if (!usable && usable.error().kind() == ErrorKind::not_found) {
    co_await fail(usable.error().clone());
  }
  Result<qcow2::DirtyBits> bits = co_await read_source(image, std::move(source)).result();
  // Of two that are not usable this one is told of, but for a source that is not there.
  const bool missing = !bits && bits.error().kind() == ErrorKind::not_found;
  if (!missing) co_await std::move(usable);
  const qcow2::DirtyBits read = co_await std::move(bits);
  co_await bitmaps.merge(std::move(name), read);
}

}  // namespace

Task<void> change_bitmap(Image& image, std::string name, BitmapAction action) {
  using Kind = BitmapAction::Kind;
  auto* const qcow2 = dynamic_cast<qcow2::Qcow2Image*>(&image);
  qcow2::Bitmaps* const bitmaps = qcow2 != nullptr ? qcow2->bitmaps() : nullptr;
  qcow2::NewBitmap wanted{.name = name, .granularity = action.granularity};
  if (action.kind == Kind::add) co_await check(wanted);
  if (bitmaps == nullptr) {
    if (action.kind != Kind::add) co_await fail(not_found(name));
    co_await fail(ErrorKind::unsupported,
                  fmt::format("Can't store persistent bitmaps to {}: Operation not supported",
                              image.filename()));
  }
  switch (action.kind) {
    case Kind::add: co_await bitmaps->add(std::move(wanted)); break;
    case Kind::remove: co_await bitmaps->remove(std::move(name)); break;
    case Kind::clear: co_await bitmaps->clear(std::move(name)); break;
    case Kind::enable: co_await bitmaps->set_enabled(std::move(name), true); break;
    case Kind::disable: co_await bitmaps->set_enabled(std::move(name), false); break;
    case Kind::merge: {
      Image& source = action.source_image != nullptr ? *action.source_image : image;
      co_await merge(*bitmaps, std::move(name), source, std::move(action.source));
    }
  }
}

}  // namespace platter
