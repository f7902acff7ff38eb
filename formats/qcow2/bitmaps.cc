#include "formats/qcow2/bitmaps.h"

#include <algorithm>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

// What QEMU chooses: a cluster, within these.
constexpr std::uint64_t kDefaultMin = 4 * kKiB;
constexpr std::uint64_t kDefaultMax = 64 * kKiB;

Result<void> check_same_size(std::uint64_t destination, std::uint64_t source) {
  if (destination == source) return {};
  return fail(ErrorKind::invalid_argument,
              fmt::format("Bitmaps are of different sizes (destination size is {}, source size is "
                          "{}) and can't be merged",
                          destination, source));
}

}  // namespace

Result<void> check(const NewBitmap& wanted) {
  if (wanted.name.empty()) {
    return fail(ErrorKind::invalid_argument, "Bitmap name cannot be empty");
  }
  if (wanted.name.contains('\0')) {
    return fail(ErrorKind::invalid_argument, "Bitmap name cannot hold a zero byte");
  }
  if (wanted.granularity == 0) return {};
  if (std::has_single_bit(wanted.granularity) && wanted.granularity >= kSectorSize) return {};
  return fail(ErrorKind::invalid_argument, "Granularity must be power of 2 and at least 512");
}

std::vector<BitmapEntry> Bitmaps::list() const {
  std::vector<BitmapEntry> entries;
  entries.reserve(bitmaps_.size());
  for (const Bitmap& bitmap : bitmaps_) entries.push_back(bitmap.entry);
  return entries;
}

Task<void> Bitmaps::start() {
  if (!has_bitmaps(p_.header)) co_return;
  // The directory and what it says, its names too.
  memory_used_ = 2 * p_.header.bitmaps->directory_size;
  if (memory_used_ > p_.memory_max) {
    co_await fail(
        ErrorKind::out_of_memory,
        fmt::format("The bitmap directory of {} bytes needs more memory than the {} bytes "
                    "that are allowed",
                    p_.header.bitmaps->directory_size, p_.memory_max));
  }
  for (BitmapEntry& entry : co_await read_bitmap_directory(p_.header, p_.file)) {
    const std::uint32_t flags = entry.flags;
    Bitmap bitmap{.entry = std::move(entry), .disk_flags = flags};
    Result<BitmapTable> table =
        co_await read_bitmap_table(p_.header, p_.file, bitmap.entry, memory_left()).result();
    bitmap.knows_table = table.has_value();
    if (table) {
      bitmap.table = std::move(*table);
      memory_used_ += bitmap.table.size() * sizeof(BitmapTableEntry);
    } else if (bitmap.consistent() || table.error().kind() != ErrorKind::corrupt_image) {
      co_await fail(std::move(table.error()));
    }
    bitmaps_.push_back(std::move(bitmap));
  }
  co_await learn_regions();
  for (Bitmap& bitmap : bitmaps_) {
    if (bitmap.enabled()) co_await load(bitmap);
  }
  update_recording();
}

// --- where they lie

std::vector<std::uint64_t> Bitmaps::table_clusters(const Bitmap& bitmap) const {
  std::vector<std::uint64_t> offsets;
  if (!bitmap.knows_table) return offsets;
  const std::uint64_t count = cluster_count(bitmap.table.size() * sizeof(std::uint64_t));
  for (std::uint64_t i = 0; i < count; ++i) {
    offsets.push_back(bitmap.entry.table_offset + (i << p_.header.cluster_bits));
  }
  return offsets;
}

// Whose clusters belong to something else too must not be written or given up. That a bitmap which
// is lost already says so is no reason to refuse the image.
Result<void> Bitmaps::forget_shared_tables() {
  struct Use {
    std::uint64_t offset;
    Bitmap* bitmap;
  };
  std::vector<Use> uses;
  for (Bitmap& bitmap : bitmaps_) {
    for (const std::uint64_t offset : table_clusters(bitmap)) uses.push_back({offset, &bitmap});
    for (const std::uint64_t offset : data_clusters(bitmap.table))
      uses.push_back({offset, &bitmap});
  }
  std::ranges::sort(uses, {}, &Use::offset);
  for (auto use = uses.begin(); use != uses.end();) {
    const auto end = std::find_if(use, uses.end(),
                                  [&](const Use& other) { return other.offset != use->offset; });
    const bool taken = p_.regions.find(use->offset, p_.header.cluster_size()).has_value();
    const auto trusted =
        std::count_if(use, end, [](const Use& each) { return each.bitmap->consistent(); });
    if (trusted > 1 || (taken && trusted > 0)) {
      return fail(ErrorKind::corrupt_image,
                  fmt::format("'{}': the cluster at offset {:#x} belongs to bitmap '{}' and to "
                              "something else",
                              p_.file.name(), use->offset, use->bitmap->entry.name));
    }
    const bool shared = taken || end - use > 1;
    for (; use != end; ++use) {
      if (shared && !use->bitmap->consistent()) use->bitmap->knows_table = false;
    }
  }
  return {};
}

Task<void> Bitmaps::learn_regions() {
  const BitmapsExtension& directory = *p_.header.bitmaps;
  if (const auto other = p_.regions.find(directory.directory_offset, directory.directory_size)) {
    co_await fail(ErrorKind::corrupt_image,
                  fmt::format("'{}': the bitmap directory at offset {:#x} overlaps with the {}",
                              p_.file.name(), directory.directory_offset, to_string(*other)));
  }
  p_.regions.add_range(RegionKind::bitmap_directory, directory.directory_offset,
                       directory.directory_size);
  co_await forget_shared_tables();
  update_regions();
}

void Bitmaps::update_regions() {
  p_.regions.remove_ranges(RegionKind::bitmap_directory);
  if (has_bitmaps(p_.header)) {
    p_.regions.add_range(RegionKind::bitmap_directory, p_.header.bitmaps->directory_offset,
                         p_.header.bitmaps->directory_size);
  }
  std::vector<std::uint64_t> tables;
  std::vector<std::uint64_t> data;
  for (const Bitmap& bitmap : bitmaps_) {
    if (!bitmap.knows_table) continue;
    for (const std::uint64_t offset : table_clusters(bitmap)) tables.push_back(offset);
    for (const std::uint64_t offset : data_clusters(bitmap.table)) data.push_back(offset);
  }
  p_.regions.replace_clusters(RegionKind::bitmap_table, tables);
  p_.regions.replace_clusters(RegionKind::bitmap_data, data);
}

// --- in memory

Result<Bitmaps::Bitmap*> Bitmaps::find(const std::string& name, bool consistent) {
  const auto found = std::ranges::find_if(
      bitmaps_, [&](const Bitmap& bitmap) { return bitmap.entry.name == name; });
  Result<void> usable =
      check_bitmap_usable(name, found == bitmaps_.end() ? nullptr : &found->entry);
  const bool removable = found != bitmaps_.end() && !consistent;
  if (!usable && !removable) return fail(std::move(usable.error()));
  return &*found;
}

Task<void> Bitmaps::load(Bitmap& bitmap) {
  if (bitmap.bits) co_return;
  DirtyBits bits =
      co_await read_bitmap_bits(p_.header, p_.file, bitmap.entry, bitmap.table, memory_left());
  memory_used_ += bits.byte_count();
  bitmap.bits = std::make_unique<DirtyBits>(std::move(bits));
}

void Bitmaps::unload(Bitmap& bitmap) noexcept {
  if (bitmap.bits) memory_used_ -= bitmap.bits->byte_count();
  bitmap.bits.reset();
}

// The next write saves it first, and marks anew.
void Bitmaps::changed() {
  unsaved_ = true;
  marked_ = false;
  update_recording();
}

void Bitmaps::update_recording() {
  recording_.clear();
  for (const Bitmap& bitmap : bitmaps_) {
    if (bitmap.enabled()) recording_.push_back(bitmap.bits.get());
  }
  records_ = unsaved_ || !recording_.empty();
}

Task<void> Bitmaps::before_write(std::uint64_t offset, std::uint64_t length) {
  while (!marked_) co_await mark();
  for (DirtyBits* const bits : recording_) bits->mark(offset, length);
}

// --- operations

Result<void> Bitmaps::check_new(const NewBitmap& wanted) const {
  const Header& header = p_.header;
  if (header.version < 3) {
    return fail(ErrorKind::unsupported, "Cannot store dirty bitmaps in qcow2 v2 files");
  }
  Result<void> possible = check_bitmap(header, wanted.name, wanted.granularity, header.size);
  if (!possible) return possible;
  if (header.size == 0) {
    return fail(ErrorKind::unsupported, "a disk of size 0 has nothing to record");
  }
  if (bitmaps_.size() >= kBitmapsMax) {
    return fail(ErrorKind::too_large, "Maximum number of persistent bitmaps is already reached");
  }
  std::vector<BitmapEntry> entries = list();
  entries.push_back({.name = wanted.name});
  if (directory_size(entries) > kBitmapDirectorySizeMax) {
    return fail(ErrorKind::too_large, "Not enough space in the bitmap directory");
  }
  const auto granularity_bits = static_cast<unsigned>(std::countr_zero(wanted.granularity));
  const std::uint64_t bytes = DirtyBits::byte_count(header.size, granularity_bits);
  return check_memory(bytes);
}

Result<void> Bitmaps::check_memory(std::uint64_t bytes) const {
  if (bytes <= memory_left()) return {};
  return fail(ErrorKind::out_of_memory,
              fmt::format("{} bytes of memory are more than what is allowed", bytes));
}

Task<void> Bitmaps::add(NewBitmap wanted) {
  const auto guard = co_await mutex_.lock();
  co_await check(wanted);
  if (wanted.granularity == 0) {
    wanted.granularity = std::clamp(p_.header.cluster_size(), kDefaultMin, kDefaultMax);
  }
  if (find(wanted.name, /*consistent=*/false)) {
    co_await fail(ErrorKind::already_exists, "Bitmap already exists: " + wanted.name);
  }
  if (Result<void> possible = check_new(wanted); !possible) {
    co_await fail(std::move(possible.error())
                      .with_context(fmt::format("Can't make bitmap '{}' persistent in '{}'",
                                                wanted.name, p_.file.name())));
  }
  Bitmap bitmap{.entry = {.name = std::move(wanted.name),
                          .flags = wanted.enabled ? kBitmapAuto : 0,
                          .granularity = wanted.granularity}};
  const auto granularity_bits = static_cast<unsigned>(std::countr_zero(wanted.granularity));
  bitmap.bits =
      std::make_unique<DirtyBits>(co_await DirtyBits::make(p_.header.size, granularity_bits));
  memory_used_ += bitmap.bits->byte_count();
  bitmaps_.push_back(std::move(bitmap));
  changed();
}

Result<void> Bitmaps::check_usable(const std::string& name) {
  const Result<Bitmap*> found = find(name, /*consistent=*/true);
  return found ? Result<void>() : fail(found.error().clone());
}

Task<void> Bitmaps::remove(std::string name) {
  const auto guard = co_await mutex_.lock();
  Bitmap* const bitmap = co_await find(name, /*consistent=*/false);
  unload(*bitmap);
  if (bitmap->disk_flags) removed_.push_back(std::move(*bitmap));
  bitmaps_.erase(bitmaps_.begin() + (bitmap - bitmaps_.data()));
  changed();
}

Task<void> Bitmaps::clear(std::string name) {
  const auto guard = co_await mutex_.lock();
  Bitmap* const bitmap = co_await find(name, /*consistent=*/true);
  co_await load(*bitmap);
  bitmap->bits->clear();
  changed();
}

Task<void> Bitmaps::set_enabled(std::string name, bool enabled) {
  const auto guard = co_await mutex_.lock();
  Bitmap* const bitmap = co_await find(name, /*consistent=*/true);
  if (enabled) co_await load(*bitmap);
  bitmap->entry.flags = enabled ? kBitmapAuto : 0;
  changed();
}

Task<void> Bitmaps::merge(std::string name, const DirtyBits& source) {
  const auto guard = co_await mutex_.lock();
  Bitmap* const bitmap = co_await find(name, /*consistent=*/true);
  co_await check_same_size(p_.header.size, source.size());
  co_await load(*bitmap);
  bitmap->bits->merge(source);
  changed();
}

Task<DirtyBits> Bitmaps::read(std::string name) {
  const auto guard = co_await mutex_.lock();
  const Bitmap* const bitmap = co_await find(name, /*consistent=*/true);
  if (bitmap->bits) {
    co_await check_memory(bitmap->bits->byte_count());
    co_return bitmap->bits->clone();
  }
  co_return co_await read_bitmap_bits(p_.header, p_.file, bitmap->entry, bitmap->table,
                                      memory_left());
}

// --- the disk's size

Result<void> Bitmaps::check_resize(std::uint64_t size) const {
  for (const Bitmap& bitmap : bitmaps_) {
    Result<void> possible = check_bitmap_usable(bitmap.entry.name, &bitmap.entry);
    if (!possible) return possible;
    possible = check_bitmap(p_.header, bitmap.entry.name, bitmap.entry.granularity, size);
    if (possible && size == 0) {
      possible = fail(ErrorKind::unsupported, "a disk of size 0 has nothing to record");
    }
    if (possible) continue;
    return fail(
        std::move(possible.error()).with_context(fmt::format("Bitmap '{}'", bitmap.entry.name)));
  }
  return {};
}

Task<void> Bitmaps::prepare_resize(std::uint64_t size) {
  if (bitmaps_.empty() && !unsaved_) co_return;
  const auto guard = co_await mutex_.lock();
  co_await check_resize(size);
  if (unsaved_) co_await save_now();
  for (Bitmap& bitmap : bitmaps_) {
    co_await load(bitmap);
    const std::uint64_t wanted = DirtyBits::byte_count(size, bitmap.bits->granularity_bits());
    const std::uint64_t more = wanted - std::min(wanted, bitmap.bits->byte_count());
    if (more > memory_left()) {
      co_await fail(ErrorKind::out_of_memory,
                    fmt::format("Bitmap '{}' would need {} bytes of memory, more than what is "
                                "allowed",
                                bitmap.entry.name, wanted));
    }
    co_await bitmap.bits->reserve(size);
  }
  co_await mark_in_use(/*all=*/true);
  marked_ = true;
}

void Bitmaps::finish_resize() noexcept {
  for (const Bitmap& bitmap : bitmaps_) {
    if (!bitmap.bits || bitmap.bits->size() == p_.header.size) continue;
    memory_used_ -= bitmap.bits->byte_count();
    bitmap.bits->resize(p_.header.size);
    memory_used_ += bitmap.bits->byte_count();
  }
}

}  // namespace platter::qcow2
