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
  for (const Preallocation mode :
       {Preallocation::off, Preallocation::metadata, Preallocation::falloc, Preallocation::full}) {
    if (name == to_string(mode)) return mode;
  }
  return fail(ErrorKind::invalid_argument,
              "Invalid preallocation mode '" + std::string(name) + "'");
}

Result<void> Image::check_bounds(std::uint64_t offset, std::uint64_t length) const {
  if (in_bounds(offset, length, virtual_size())) return {};
  return fail(ErrorKind::out_of_bounds, "'" + filename() + "': " + std::to_string(length) +
                                            " bytes at offset " + std::to_string(offset) +
                                            " lie outside of the image's " +
                                            std::to_string(virtual_size()) + " bytes");
}

Result<void> Image::check_writable() const {
  if (!read_only()) return {};
  return fail(ErrorKind::read_only, "'" + filename() + "' is open for reading only");
}

Image& Image::layer(unsigned depth) noexcept {
  Image* image = this;
  for (; depth > 0; --depth) image = image->backing();
  return *image;
}

namespace {

// What the backing image, which may be shorter, has for a run.
Task<std::vector<Mapping>> map_behind(Image& backing, Mapping run, std::size_t count_max,
                                      const Image* until) {
  std::vector<Mapping> found;
  const std::uint64_t end = backing.virtual_size();
  if (run.offset >= end) {
    found.push_back(run);
    co_return found;
  }
  run.length = std::min(run.length, end - run.offset);
  if (&backing == until) {
    found.push_back(run);
  } else {
    found = co_await backing.map_chain(run.offset, run.length, count_max, until);
  }
  for (Mapping& mapping : found) ++mapping.depth;
  co_return found;
}

}  // namespace

Task<std::vector<Mapping>> Image::map_chain(std::uint64_t offset, std::uint64_t length,
                                            std::size_t count_max, const Image* until) {
  std::vector<Mapping> own = co_await map(offset, length, count_max);
  if (backing() == nullptr) co_return own;
  std::vector<Mapping> all;
  for (const Mapping& run : own) {
    if (all.size() == count_max) break;
    if (run.kind != MappingKind::unallocated) {
      all.push_back(run);
      continue;
    }
    const auto behind = co_await map_behind(*backing(), run, count_max - all.size(), until);
    all.insert(all.end(), behind.begin(), behind.end());
    // Where the backing image told of a part only, the rest is for the next call.
    const std::uint64_t reached = behind.back().offset + behind.back().length;
    if (reached < run.offset + run.length) break;
  }
  co_return all;
}

Task<void> Image::read_compressed(std::uint64_t /*offset*/, std::span<std::byte> /*into*/) {
  co_await fail(ErrorKind::unsupported, "'" + filename() + "': format '" + std::string(format()) +
                                            "' has no compressed data");
}

Task<void> Image::read(std::uint64_t offset, std::span<std::byte> into) {
  co_await check_bounds(offset, into.size());
  constexpr std::size_t kBatch = 16;
  while (!into.empty()) {
    const std::vector<Mapping> mappings = co_await map_chain(offset, into.size(), kBatch);
    for (const Mapping& mapping : mappings) {
      const std::span<std::byte> part = into.first(mapping.length);
      switch (mapping.kind) {
        case MappingKind::data:
          co_await read_exactly(*mapping.file, mapping.file_offset, part);
          break;
        case MappingKind::zero:
        case MappingKind::unallocated: std::memset(part.data(), 0, part.size()); break;
        case MappingKind::compressed:
          co_await layer(mapping.depth).read_compressed(mapping.offset, part);
      }
      into = into.subspan(part.size());
      offset += part.size();
    }
  }
}

Task<void> Image::abandon_write(const WritePlace& /*place*/) { co_return; }

Task<void> Image::write_compressed(std::uint64_t /*offset*/, std::span<const std::byte> /*data*/) {
  co_await check_writable();
  co_await fail(ErrorKind::unsupported, "'" + filename() + "': format '" + std::string(format()) +
                                            "' can't hold compressed data");
}

Task<void> Image::write(std::uint64_t offset, std::span<const std::byte> data) {
  co_await check_writable();
  co_await check_bounds(offset, data.size());
  while (!data.empty()) {
    const WritePlace place = co_await prepare_write(offset, data.size());
    Result<void> written =
        co_await place.file->write(place.file_offset, data.first(place.length)).result();
    if (!written) {
      co_await abandon_write(place);
      co_await std::move(written);
    }
    co_await commit_write(place);
    offset += place.length;
    data = data.subspan(place.length);
  }
}

}  // namespace platter
