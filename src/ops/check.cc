#include "src/ops/check.h"

#include <utility>

namespace platter {

Task<qcow2::CheckReport> check_image(File& file, std::string_view format, CheckImageOptions options,
                                     bool& opened) {
  if (format != "qcow2") {
    co_return fail(ErrorKind::unsupported, "This image format does not support checks");
  }
  qcow2::Header header = co_await qcow2::read_header_for_check(file);
  opened = true;
  qcow2::CheckOptions check{
      .repair = options.repair, .memory_max = options.memory_max, .cancel = options.cancel};
  check.on_message = options.on_message;
  const qcow2::CheckReport first = co_await qcow2::check_refcounts(header, file, check);
  if (first.corruptions_fixed == 0 && first.leaks_fixed == 0) co_return first;
  if (options.on_repaired) options.on_repaired(first);
  check.repair = qcow2::Repair::none;
  // As an image that was opened anew.
  header = co_await qcow2::read_header_for_check(file);
  qcow2::CheckReport second = co_await qcow2::check_refcounts(header, file, std::move(check));
  second.corruptions_fixed = first.corruptions_fixed;
  second.leaks_fixed = first.leaks_fixed;
  second.messages_left_out += first.messages_left_out;
  co_return second;
}

}  // namespace platter
