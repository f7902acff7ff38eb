#include "formats/qcow2/bitmap_bits.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>

namespace platter::qcow2 {
namespace {

// Whether all bytes are the same as the first one, which is `value`.
bool all_are(std::span<const std::byte> bytes, std::byte value) noexcept {
  return bytes.empty() ||
         (bytes[0] == value && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

std::uint64_t load_word(const std::byte* at) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

}  // namespace

std::uint64_t DirtyBits::byte_count(std::uint64_t size, unsigned granularity_bits) noexcept {
  return (bit_count(size, granularity_bits) + 7) / 8;
}

Result<DirtyBits> DirtyBits::make(std::uint64_t size, unsigned granularity_bits) {
  DirtyBits bits;
  bits.granularity_bits_ = granularity_bits;
  if (Result<void> reserved = bits.reserve(size); !reserved) {
    return fail(std::move(reserved.error()));
  }
  bits.size_ = size;
  return bits;
}

Result<DirtyBits> DirtyBits::clone() const {
  Result<DirtyBits> copy = make(size_, granularity_bits_);
  if (copy) std::memcpy(copy->data_.get(), data_.get(), byte_count());
  return copy;
}

Result<void> DirtyBits::reserve(std::uint64_t size) {
  const std::uint64_t wanted = std::max<std::uint64_t>(byte_count(size, granularity_bits_), 1);
  if (wanted <= capacity_) return {};
  std::unique_ptr<std::byte, Free> data(static_cast<std::byte*>(std::calloc(wanted, 1)));
  if (!data) {
    return fail(ErrorKind::out_of_memory, fmt::format("a bitmap needs {} bytes of memory", wanted));
  }
  if (data_) std::memcpy(data.get(), data_.get(), byte_count());
  data_ = std::move(data);
  capacity_ = wanted;
  return {};
}

void DirtyBits::resize(std::uint64_t size) noexcept {
  const std::uint64_t before = byte_count();
  size_ = size;
  if (byte_count() < before) std::memset(data_.get() + byte_count(), 0, before - byte_count());
  clear_tail();
  changed_ = true;
}

void DirtyBits::clear_tail() noexcept {
  const std::uint64_t used = bit_count() % 8;
  if (used != 0) data_.get()[bit_count() / 8] &= static_cast<std::byte>((1U << used) - 1);
}

void DirtyBits::add_to(std::uint64_t byte, unsigned mask) noexcept {
  std::byte& place = data_.get()[byte];
  const std::byte after = place | static_cast<std::byte>(mask);
  changed_ = changed_ || after != place;
  place = after;
}

void DirtyBits::mark(std::uint64_t offset, std::uint64_t length) noexcept {
  if (length == 0) return;
  mark_bits(offset >> granularity_bits_, (offset + length - 1) >> granularity_bits_);
}

// Both included.
void DirtyBits::mark_bits(std::uint64_t first, std::uint64_t last) noexcept {
  const std::uint64_t begin = first / 8;
  const std::uint64_t end = last / 8;
  const unsigned from_first = 0xffU << (first % 8);
  const unsigned to_last = 0xffU >> (7 - last % 8);
  if (begin == end) return add_to(begin, from_first & to_last);
  add_to(begin, from_first);
  load_ones(begin + 1, end - begin - 1);
  add_to(end, to_last);
}

void DirtyBits::load_ones(std::uint64_t at, std::uint64_t count) noexcept {
  if (at >= byte_count()) return;
  const std::span<std::byte> place(data_.get() + at, std::min(count, byte_count() - at));
  changed_ = changed_ || !all_are(place, std::byte{0xff});
  std::memset(place.data(), 0xff, place.size());
  clear_tail();
}

DirtyBits::Kind DirtyBits::kind_of(std::uint64_t at, std::uint64_t count) const noexcept {
  const auto part = bytes().subspan(at, std::min(count, byte_count() - at));
  if (all_are(part, std::byte{0})) return Kind::zeroes;
  return all_are(part, std::byte{0xff}) ? Kind::ones : Kind::mixed;
}

void DirtyBits::load(std::uint64_t at, std::span<const std::byte> bytes) noexcept {
  if (at >= byte_count()) return;
  std::memcpy(data_.get() + at, bytes.data(),
              std::min<std::uint64_t>(bytes.size(), byte_count() - at));
  clear_tail();
  changed_ = true;
}

void DirtyBits::clear() noexcept {
  changed_ = changed_ || !all_are(bytes(), std::byte{0});
  std::memset(data_.get(), 0, byte_count());
}

void DirtyBits::merge(const DirtyBits& other) noexcept {
  std::uint64_t at = 0;
  while (const auto run = other.next_dirty(at)) {
    mark(run->offset, run->length);
    at = run->offset + run->length;
  }
}

// The first bit from `from` on that is set, or is not; bit_count() where there is none.
std::uint64_t DirtyBits::find_bit(std::uint64_t from, bool set) const noexcept {
  const std::uint64_t flip = set ? 0 : ~std::uint64_t{0};
  const std::uint64_t count = bit_count();
  const std::uint64_t whole = byte_count() / 8 * 64;  // bits in whole words
  while (from < count) {
    if (from >= whole) {
      const auto byte = std::to_integer<unsigned>(data_.get()[from / 8]);
      if (((byte >> (from % 8)) & 1) == (set ? 1U : 0U)) return from;
      ++from;
      continue;
    }
    const std::uint64_t word = (load_word(data_.get() + from / 64 * 8) ^ flip) >> (from % 64);
    if (word != 0) return std::min(count, from + static_cast<unsigned>(std::countr_zero(word)));
    from = from / 64 * 64 + 64;
  }
  return count;
}

std::optional<DirtyRange> DirtyBits::next_dirty(std::uint64_t offset) const noexcept {
  if (offset >= size_) return std::nullopt;
  const std::uint64_t first = find_bit(offset >> granularity_bits_, true);
  if (first == bit_count()) return std::nullopt;
  const std::uint64_t behind = find_bit(first, false);
  const std::uint64_t begin = std::max(offset, first << granularity_bits_);
  // The last bit may stand for less than the others, and its end lie behind 2^64.
  const std::uint64_t end = behind == bit_count() ? size_ : behind << granularity_bits_;
  return DirtyRange{.offset = begin, .length = end - begin};
}

std::uint64_t DirtyBits::dirty_bytes() const noexcept {
  std::uint64_t sum = 0;
  std::uint64_t at = 0;
  while (const auto run = next_dirty(at)) {
    sum += run->length;
    at = run->offset + run->length;
  }
  return sum;
}

}  // namespace platter::qcow2
