#include "src/ops/luks_target.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "formats/luks/luks1_keys.h"
#include "formats/raw/raw_create.h"
#include "io/bytes.h"

namespace platter {

Task<void> LuksTarget::begin() {
  if (!options_.luks.passphrase) {
    co_await fail(ErrorKind::invalid_argument, "Parameter 'key-secret' is required for cipher");
  }
  luks::Luks1Header header = co_await luks::plan_luks1(options_.luks.header);
  target_ = co_await open_target(options_.filename, cache_, durability_, options_.lookup);
  file_ = target_.file.get();
  const auto id = file_->id();
  if (id && std::ranges::find(options_.sources, *id) != options_.sources.end()) {
    co_await fail(ErrorKind::in_use, "'" + file_->name() + "' is a source of this conversion");
  }
  co_await lay_out(header);
  key_ = co_await luks::create_luks1({.file = *file_}, header, options_.luks.passphrase->view(),
                                     options_.luks.header.time_ms);
  header_ = std::move(header);
  // Until it is whole nobody takes what was there before for an image.
  if (!target_.unpublished) co_await set_magic(false);
}

// The space of the header, of the slots and of the payload.
Task<void> LuksTarget::lay_out(const luks::Luks1Header& header) {
  const std::uint64_t payload = header.payload_offset();
  if (!in_bounds(payload, options_.size, align_down(kMaxFileSize, kSectorSize))) {
    co_await fail(ErrorKind::too_large,
                  fmt::format("{} bytes are more than a LUKS image can have", options_.size));
  }
  co_await clear_target(*file_, options_.attributes);
  const ResizeOptions layout{.preallocation = options_.preallocation, .cancel = options_.cancel};
  co_await create_raw(*file_, payload + options_.size, layout);
}

Task<std::unique_ptr<luks::LuksImage>> LuksTarget::open() {
  const std::uint64_t size = header_->payload_offset() + options_.size;
  co_return co_await luks::LuksImage::of_new(std::move(target_.file), options_.filename, *header_,
                                             std::move(key_), size);
}

Task<void> LuksTarget::set_magic(bool there) {
  hidden_ = !there;
  std::array<char, sizeof luks::kMagic> magic{};
  if (there) std::ranges::copy(luks::kMagic, magic.begin());
  co_await file_->write(0, std::as_bytes(std::span(magic)));
  co_await file_->flush();
}

Task<void> LuksTarget::complete() {
  co_await complete_target(target_.unpublished.get(), *file_);
  if (hidden_) co_await set_magic(true);
}

Task<void> LuksTarget::close() { return target_.file->close(); }

}  // namespace platter
