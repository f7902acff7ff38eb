#include "formats/qcow2/entry_table.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "io/bytes.h"

namespace platter::qcow2 {

Task<void> EntryTable::load(File& file, std::uint64_t offset, std::size_t count,
                            std::string_view name) {
  offset_ = offset;
  entries_.assign(count, 0);
  if (count == 0) co_return;
  const std::span<std::byte> raw = std::as_writable_bytes(std::span(entries_));
  const std::size_t read = co_await file.read(offset, raw);
  if (read < raw.size()) {
    co_await fail(ErrorKind::corrupt_image, "'" + file.name() + "': the " + std::string(name) +
                                                " ends past the end of the file");
  }
  if constexpr (std::endian::native == std::endian::little) {
    for (std::uint64_t& entry : entries_) entry = __builtin_bswap64(entry);
  }
}

void EntryTable::set(std::size_t index, std::uint64_t value) {
  entries_[index] = value;
  dirty_.insert(index * sizeof value / granule_);
}

void EntryTable::relocate(std::uint64_t offset, std::size_t count) {
  offset_ = offset;
  entries_.resize(count);
  moved_ = true;
  dirty_.clear();
}

void EntryTable::replace(std::uint64_t offset, std::vector<std::uint64_t> entries) {
  offset_ = offset;
  entries_ = std::move(entries);
  moved_ = false;
  dirty_.clear();
}

// The rest of the last granule belongs to the table's clusters, too.
std::vector<std::byte> EntryTable::granule_bytes(std::size_t index) const {
  std::vector<std::byte> bytes(granule_);
  const std::size_t per_granule = granule_ / sizeof(be64);
  const std::size_t begin = index * per_granule;
  const std::size_t end = std::min(begin + per_granule, entries_.size());
  for (std::size_t i = begin; i < end; ++i) {
    const be64 value = entries_[i];
    std::memcpy(bytes.data() + (i - begin) * sizeof value, &value, sizeof value);
  }
  return bytes;
}

EntryTable::Frozen EntryTable::freeze() {
  Frozen frozen{.moved = moved_, .offset = offset_, .count = entries_.size()};
  const std::size_t granules = (entries_.size() * sizeof(be64) + granule_ - 1) / granule_;
  if (moved_) {
    for (std::size_t i = 0; i < granules; ++i) dirty_.insert(i);
  }
  // Neighbours go together.
  std::size_t previous = 0;
  for (const std::size_t index : dirty_) {
    std::vector<std::byte> bytes = granule_bytes(index);
    if (!frozen.pieces.empty() && index == previous + 1) {
      auto& last = frozen.pieces.back().second;
      last.insert(last.end(), bytes.begin(), bytes.end());
    } else {
      frozen.pieces.emplace_back(offset_ + index * granule_, std::move(bytes));
    }
    previous = index;
  }
  frozen.granules = std::move(dirty_);
  dirty_.clear();
  moved_ = false;
  return frozen;
}

void EntryTable::thaw_unwritten(const Frozen& frozen) {
  if (frozen.offset != offset_) return;  // it has moved on meanwhile, and is new as a whole
  moved_ = moved_ || frozen.moved;
  dirty_.insert(frozen.granules.begin(), frozen.granules.end());
}

}  // namespace platter::qcow2
