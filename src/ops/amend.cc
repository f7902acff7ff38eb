#include "src/ops/amend.h"

#include <utility>

#include <fmt/format.h>

#include "formats/qcow2/qcow2_image.h"

namespace platter {

Result<void> check_amendable(std::string_view format) {
  if (format == "qcow2" || format == "luks") return {};
  return fail(ErrorKind::unsupported,
              fmt::format("Format driver '{}' does not support option amendment", format));
}

Task<void> amend_image(Image& image, qcow2::AmendOptions options, Progress* progress) {
  auto* const qcow2 = dynamic_cast<qcow2::Qcow2Image*>(&image);
  if (qcow2 == nullptr) {
    co_await check_amendable(image.format());
    co_await fail(ErrorKind::unsupported, "'" + image.filename() + "' can't be amended");
  }
  if (progress != nullptr) {
    options.on_total = [progress](std::uint64_t bytes) { progress->set_total(bytes); };
    options.on_done = [progress](std::uint64_t bytes) { progress->add(bytes); };
  }
  co_await qcow2->amend(std::move(options));
}

}  // namespace platter
