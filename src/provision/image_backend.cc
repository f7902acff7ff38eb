#include "src/provision/image_backend.h"

#include <fmt/format.h>

namespace platter::provision {

Result<void> verify_base_size(std::uint64_t base_size, std::optional<std::uint64_t> size,
                              const std::string& base) {
  if (!size || *size >= base_size) return {};
  return fail(ErrorKind::too_large,
              fmt::format("A disk of {} bytes can't be made from '{}': that has {} bytes", *size,
                          base, base_size));
}

std::unexpected<Error> no_such_disk(const std::string& path) {
  return fail(ErrorKind::not_found, fmt::format("There is no disk '{}'", path));
}

}  // namespace platter::provision
