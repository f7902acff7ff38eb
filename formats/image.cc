#include "formats/image.h"

#include <algorithm>
#include <cstring>

#include "io/bytes.h"

namespace platter {

std::string_view to_string(Preallocation mode) noexcept {
  switch (mode) {
    case Preallocation::off: return "off";
    case Preallocation::metadata: return "metadata";
    case Preallocation::falloc: return "falloc";
    case Preallocation::full: return "full";
  }
  return "off";
}

Result<Preallocation> parse_preallocation(std::string_view name) {
  for (const Preallocation mode : {Preallocation::off, Preallocation::metadata,
                                   Preallocation::falloc, Preallocation::full}) {
    if (name == to_string(mode)) return mode;
  }
  return fail(ErrorKind::invalid_argument, "Invalid preallocation mode '" + std::string(name) + "'");
}

Result<void> Image::check_bounds(std::uint64_t offset, std::uint64_t length) const {
  if (in_bounds(offset, length, virtual_size())) return {};
  return fail(ErrorKind::out_of_bounds,
              "'" + filename() + "': " + std::to_string(length) + " bytes at offset " +
                  std::to_string(offset) + " lie outside of the image's " +
                  std::to_string(virtual_size()) + " bytes");
}

Result<void> Image::check_writable() const {
  if (!read_only()) return {};
  return fail(ErrorKind::read_only, "'" + filename() + "' is open for reading only");
}

Task<void> Image::read(std::uint64_t offset, std::span<std::byte> into) {
  co_await check_bounds(offset, into.size());
  constexpr std::size_t kBatch = 16;
  while (!into.empty()) {
    const std::vector<Mapping> mappings = co_await map(offset, into.size(), kBatch);
    for (const Mapping& mapping : mappings) {
      const std::span<std::byte> part = into.first(mapping.length);
      switch (mapping.kind) {
        case MappingKind::data:
          co_await read_exactly(*mapping.file, mapping.file_offset, part);
          break;
        case MappingKind::zero:
        case MappingKind::unallocated: std::memset(part.data(), 0, part.size()); break;
        case MappingKind::compressed:
          co_await fail(ErrorKind::unsupported,
                        "'" + filename() + "': this format has no compressed data");
      }
      into = into.subspan(part.size());
      offset += part.size();
    }
  }
}

Task<void> Image::write(std::uint64_t offset, std::span<const std::byte> data) {
  co_await check_writable();
  co_await check_bounds(offset, data.size());
  while (!data.empty()) {
    const WritePlace place = co_await prepare_write(offset, data.size());
    co_await place.file->write(place.file_offset, data.first(place.length));
    co_await commit_write(place);
    offset += place.length;
    data = data.subspan(place.length);
  }
}

}  // namespace platter
