#include "formats/qcow2/qcow2_image.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "formats/qcow2/check.h"
#include "formats/qcow2/compress.h"
#include "formats/qcow2/decompress.h"
#include "formats/qcow2/header_sector.h"
#include "formats/qcow2/preallocation_probe.h"
#include "formats/qcow2/snapshot_table.h"
#include "formats/qcow2/writing.h"
#include "formats/reference.h"
#include "io/bytes.h"
#include "io/direct_file.h"
#include "io/ring.h"
#include "io/task_group.h"

namespace platter::qcow2 {
namespace {

// Clusters decompressed at once for one read.
constexpr std::size_t kDecompressAtOnce = 4;
constexpr std::size_t kCompressAtOnce = 16;
// Of metadata, in memory: 4 KiB of an L2 table stand for 32 MiB of 64 KiB clusters.
constexpr std::size_t kSliceMax = 4 * kKiB;
constexpr std::uint64_t kCacheMax = 32 * kMiB;

SnapshotInfo describe(const Snapshot& snapshot) {
  SnapshotInfo info{.id = snapshot.id,
                    .name = snapshot.name,
                    .vm_state_size = snapshot.vm_state_size,
                    .date_sec = snapshot.date_sec,
                    .date_nsec = snapshot.date_nsec,
                    .vm_clock_nsec = snapshot.vm_clock_nsec};
  if (snapshot.icount != ~std::uint64_t{0}) info.icount = snapshot.icount;
  return info;
}

Qcow2Info describe(const Header& header) {
  return {.version = header.version,
          .compression_type = header.compression_type == CompressionType::zstd ? "zstd" : "zlib",
          .lazy_refcounts = header.lazy_refcounts(),
          .refcount_bits = 1U << header.refcount_order,
          .data_file = header.has_data_file() ? header.data_file : std::nullopt,
          .data_file_raw = header.has_data_file() && header.autoclear(kRawDataFileBit),
          .corrupt = header.incompatible(kCorruptBit),
          .extended_l2 = header.extended_l2(),
          .bitmaps = {}};
}

}  // namespace

Qcow2Image::Qcow2Image(std::unique_ptr<File> file, std::string filename, std::uint64_t memory_max)
    : file_(std::move(file)), filename_(std::move(filename)), memory_max_(memory_max) {}

Task<std::unique_ptr<Qcow2Image>> Qcow2Image::open(std::unique_ptr<File> file, std::string filename,
                                                   std::uint64_t memory_max) {
  std::unique_ptr<Qcow2Image> image(
      new Qcow2Image(std::move(file), std::move(filename), memory_max));
  image->header_ = co_await read_header(*image->file_);
  co_return image;
}

Qcow2Image::~Qcow2Image() = default;

Task<void> Qcow2Image::connect(std::unique_ptr<Image> backing, std::unique_ptr<File> data_file,
                               bool writable) {
  backing_ = std::move(backing);
  data_file_ = std::move(data_file);
  if (header_.crypt_method != CryptMethod::none) {
    co_await fail(ErrorKind::unsupported,
                  std::string("encrypted images (") +
                      (header_.crypt_method == CryptMethod::luks ? "luks" : "aes") +
                      ") can't be read yet");
  }
  // Before anything is read that a repair may change.
  if (writable) co_await make_writable();
  cache_ = std::make_unique<MetadataCache>(
      *file_, std::min<std::size_t>(header_.cluster_size(), kSliceMax), cache_max());
  map_ = std::make_unique<ClusterMap>(header_, *file_, data(), *cache_);
  co_await map_->load_l1(header_.l1_table_offset, header_.l1_size);
  data_size_ = co_await data().size();
  if (writable) co_await start_writing();
}

std::uint64_t Qcow2Image::cache_max() const noexcept {
  return std::min(memory_max_ / 2, kCacheMax);
}

Task<void> Qcow2Image::start_writing() {
  const std::uint64_t taken = cache_max() + header_.l1_size * sizeof(std::uint64_t);
  const Writing::Parts parts{.header = header_,
                             .image = *this,
                             .file = *file_,
                             .data_file = data_file_.get(),
                             .cache = *cache_,
                             .map = *map_,
                             .bitmaps_memory_max = memory_max_ - std::min(memory_max_, taken),
                             .discard_no_unref = discard_no_unref_};
  writing_ = co_await Writing::start(parts);
}

// What must be mended before anything is written.
Task<void> Qcow2Image::make_writable() {
  if (header_.incompatible(kCorruptBit)) {
    co_await fail(ErrorKind::corrupt_image, "qcow2: Image is corrupt; cannot be opened read/write");
  }
  if (discard_no_unref_ && header_.version < 3) {
    co_await fail(ErrorKind::unsupported,
                  "discard-no-unref is only supported since qcow2 version 3");
  }
  if (!header_.incompatible(kDirtyBit)) co_return;
  // Whoever wrote it last left the counts behind.
  const CheckReport report = co_await check_refcounts(
      header_, *file_, {.repair = Repair::all, .memory_max = memory_max_ / 2});
  if (report.corruptions == 0 && report.check_errors == 0) co_return;
  co_await fail(ErrorKind::corrupt_image, "Could not repair dirty image");
}

Task<ImageInfo> Qcow2Image::info() {
  ImageInfo info;
  info.filename = filename();
  info.format = format();
  info.virtual_size = header_.size;
  info.cluster_size = header_.cluster_size();
  info.dirty = header_.incompatible(kDirtyBit);
  info.encrypted = header_.crypt_method != CryptMethod::none;
  if (const auto* file = dynamic_cast<const DirectFile*>(file_->locate(0).file)) {
    info.actual_size = co_await file->disk_usage();
  }
  if (header_.backing_file) {
    info.backing_file = header_.backing_file;
    info.full_backing_file = referenced_path(location(), *header_.backing_file);
    info.backing_format = header_.backing_format;
  }
  const SnapshotTable table = co_await read_snapshots(header_, *file_);
  for (const Snapshot& snapshot : table.snapshots) {
    info.snapshots.push_back(describe(snapshot));
  }
  info.qcow2 = describe(header_);
  for (const BitmapEntry& bitmap : co_await read_bitmap_directory(header_, *file_)) {
    info.qcow2->bitmaps.push_back({.name = bitmap.name,
                                   .granularity = bitmap.granularity,
                                   .in_use = (bitmap.flags & kBitmapInUse) != 0,
                                   .automatic = (bitmap.flags & kBitmapAuto) != 0});
  }
  co_return info;
}

// Where the file that holds guest data ends, as far as it matters: it never shrinks while this
// image is open, but in resize(), so it is asked again only where something lies behind what is
// known.
Task<std::uint64_t> Qcow2Image::data_end() {
  data_size_ = co_await data().size();
  co_return data_size_;
}

Task<std::vector<Mapping>> Qcow2Image::map(std::uint64_t offset, std::uint64_t length,
                                           std::size_t count_max) {
  co_await check_bounds(offset, length);
  std::vector<Mapping> mappings = co_await map_->map(offset, length, count_max);
  // What lies past the end of the file reads as zeroes; a run across it is cut there.
  for (std::size_t i = 0; i < mappings.size(); ++i) {
    Mapping& run = mappings[i];
    if (run.kind != MappingKind::data || in_bounds(run.file_offset, run.length, data_size_))
      continue;
    const std::uint64_t end = co_await data_end();
    if (in_bounds(run.file_offset, run.length, end)) continue;
    if (run.file_offset >= end) {
      run.kind = MappingKind::zero;
      continue;
    }
    run.length = end - run.file_offset;
    mappings.resize(i + 1);
  }
  const bool look_below = co_await has_holes_below();
  if (look_below) co_return co_await split_at_holes(std::move(mappings), count_max);
  co_return mappings;
}

// Asked once; while an image is written it is not worth knowing.
Task<bool> Qcow2Image::has_holes_below() {
  if (writing_) co_return false;
  if (holes_below_) co_return *holes_below_;
  auto* const file = dynamic_cast<DirectFile*>(file_.get());
  holes_below_ = false;
  if (file != nullptr) holes_below_ = co_await is_metadata_preallocated(header_, *file, *cache_);
  co_return *holes_below_;
}

// Holes of the file below data are zeroes that need no reading.
Task<std::vector<Mapping>> Qcow2Image::split_at_holes(std::vector<Mapping> mappings,
                                                      std::size_t count_max) {
  std::vector<Mapping> split;
  for (Mapping run : mappings) {
    if (run.kind != MappingKind::data) {
      if (split.size() == count_max) break;
      split.push_back(run);
      continue;
    }
    while (run.length > 0) {
      if (split.size() == count_max) co_return split;
      const auto extents =
          co_await run.file->extents(run.file_offset, run.length, count_max - split.size());
      if (extents.empty()) co_return fail(ErrorKind::file_changed, "'" + filename_ + "' was cut");
      for (const Extent& extent : extents) {
        Mapping part = run;
        part.length = extent.length;
        part.hole_of_data = !extent.data;
        if (!extent.data) part.kind = MappingKind::zero;
        split.push_back(part);
        run.offset += extent.length;
        run.file_offset += extent.length;
        run.length -= extent.length;
      }
    }
  }
  co_return split;
}

Task<void> Qcow2Image::read(std::uint64_t offset, std::span<std::byte> into) {
  co_await check_bounds(offset, into.size());
  if (!writing_) {
    co_await read_unguarded(offset, into);
    co_return;
  }
  // What is read stays where it is until it has been read.
  RangeLock::Guard guard(writing_->writer.locks(), offset, into.size(), /*exclusive=*/false);
  co_await guard.acquired();
  co_await read_unguarded(offset, into);
}

// The common case, one run of data here, takes no list.
Task<void> Qcow2Image::read_unguarded(std::uint64_t offset, std::span<std::byte> into) {
  if (into.empty()) co_return;
  const Mapping run = co_await map_->find(offset, into.size());
  const bool whole = run.kind == MappingKind::data && run.length == into.size();
  if (whole && in_bounds(run.file_offset, run.length, data_size_)) {
    co_await read_exactly(*run.file, run.file_offset, into);
  } else {
    co_await Image::read(offset, into);
  }
}

Result<void> Qcow2Image::check_request(std::uint64_t offset, std::uint64_t length) const {
  if (Result<void> writable = check_writable(); !writable) return writable;
  return check_bounds(offset, length);
}

bool Qcow2Image::records_writes() const noexcept { return writing_->bitmaps.records(); }

Task<WritePlace> Qcow2Image::prepare_write(std::uint64_t offset, std::uint64_t length) {
  co_await check_request(offset, length);
  if (records_writes()) co_await writing_->bitmaps.before_write(offset, length);
  co_return co_await writing_->writer.prepare(offset, length);
}

Task<void> Qcow2Image::commit_write(const WritePlace& place) {
  return writing_->writer.commit(place.guest_offset);
}

Task<void> Qcow2Image::abandon_write(const WritePlace& place) {
  return writing_->writer.abandon(place.guest_offset);
}

Task<void> Qcow2Image::write(std::uint64_t offset, std::span<const std::byte> data) {
  co_await check_request(offset, data.size());
  if (records_writes()) co_await writing_->bitmaps.before_write(offset, data.size());
  co_await writing_->writer.write(offset, data);
}

namespace {

// On a worker: a cluster, filled up with zeroes where the image ends within it.
Task<void> compress_cluster(CompressionType type, std::span<const std::byte> data,
                            std::span<std::byte> out, std::size_t& size) {
  Buffer whole;
  if (data.size() < out.size()) {
    whole = co_await Ring::current().buffers().acquire(out.size());
    std::memcpy(whole.data(), data.data(), data.size());
    std::memset(whole.data() + data.size(), 0, out.size() - data.size());
    data = whole.bytes();
  }
  // What does not get smaller is not worth it.
  size = co_await co_await Ring::current().offload(
      [type, data, out] { return compress(type, data, out.first(out.size() - 1)); });
}

}  // namespace

Task<void> Qcow2Image::write_compressed(std::uint64_t offset, std::span<const std::byte> data) {
  co_await check_request(offset, data.size());
  const std::uint64_t cluster_size = header_.cluster_size();
  const bool whole = is_aligned(offset, cluster_size) && (is_aligned(data.size(), cluster_size) ||
                                                          offset + data.size() == header_.size);
  if (!whole) {
    co_await fail(ErrorKind::invalid_argument,
                  "'" + filename_ + "': compressed data comes in whole clusters");
  }
  if (data_file_) {
    co_await fail(ErrorKind::unsupported,
                  "'" + filename_ + "': an external data file can't hold compressed data");
  }
  if (data.empty()) co_return;
  if (records_writes()) co_await writing_->bitmaps.before_write(offset, data.size());
  const std::size_t count = (data.size() + cluster_size - 1) / cluster_size;
  const Buffer out = co_await Ring::current().buffers().acquire(count * cluster_size);
  std::vector<std::size_t> sizes(count);
  const auto part_of = [&](std::size_t i) {
    return data.subspan(i * cluster_size,
                        std::min<std::size_t>(cluster_size, data.size() - i * cluster_size));
  };
  auto compress_all = [&](TaskGroup& group) -> Task<void> {
    for (std::size_t i = 0; i < count && !group.failed(); ++i) {
      const auto target = out.bytes().subspan(i * cluster_size, cluster_size);
      co_await group.spawn(
          compress_cluster(header_.compression_type, part_of(i), target, sizes[i]));
    }
  };
  co_await with_group(kCompressAtOnce, compress_all);
  std::vector<Writer::CompressedCluster> smaller;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t guest = offset + i * cluster_size;
    if (sizes[i] == 0) {
      co_await writing_->writer.write(guest, part_of(i));
    } else {
      smaller.push_back({.guest = guest, .data = out.bytes().subspan(i * cluster_size, sizes[i])});
    }
  }
  co_await writing_->writer.write_compressed(smaller);
}

Task<void> Qcow2Image::write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
  co_await check_request(offset, length);
  if (records_writes()) co_await writing_->bitmaps.before_write(offset, length);
  if (length > 0) co_await writing_->writer.write_zeroes(offset, length, mode);
}

Task<void> Qcow2Image::discard(std::uint64_t offset, std::uint64_t length) {
  co_await check_request(offset, length);
  if (records_writes()) co_await writing_->bitmaps.before_write(offset, length);
  co_await writing_->writer.discard(offset, length);
}

Task<void> Qcow2Image::resize(std::uint64_t size, ResizeOptions options) {
  co_await check_writable();
  co_await check_resize(header_, size);
  if (size <= header_.size && options.preallocation != Preallocation::off) {
    co_await fail(ErrorKind::invalid_argument, "Preallocation can only be used for growing images");
  }
  // Every cluster of a raw data file stays mapped.
  const bool raw = header_.autoclear(kRawDataFileBit);
  if (raw && size > header_.size && options.preallocation == Preallocation::off) {
    options.preallocation = Preallocation::metadata;
  }
  Result<void> done = co_await writing_->resize(size, options).result();
  if (data_file_) data_size_ = co_await data().size();
  co_await std::move(done);
}

Task<void> Qcow2Image::flush() {
  if (writing_) co_await writing_->epochs.commit();
}

Task<void> Qcow2Image::read_compressed_cluster(std::uint64_t offset, std::span<std::byte> into) {
  const CompressedPlace place = co_await map_->find_compressed(offset);
  Ring& ring = Ring::current();
  const Buffer compressed = co_await ring.buffers().acquire(place.length);
  const std::size_t count = co_await file_->read(place.offset, compressed.bytes());
  // Whole clusters land where they are wanted; of others a part is copied.
  const std::uint64_t cluster_size = header_.cluster_size();
  const std::size_t in_cluster = offset % cluster_size;
  const bool whole = in_cluster == 0 && into.size() == cluster_size;
  Buffer scratch;
  if (!whole) scratch = co_await ring.buffers().acquire(cluster_size);
  const std::span<std::byte> target = whole ? into : scratch.bytes();
  const CompressionType type = header_.compression_type;
  Result<void> done = co_await ring.offload([type, source = compressed.first(count), target] {
    return decompress(type, source, target);
  });
  if (!done) {
    const std::string place_text =
        "'" + filename_ + "': the cluster at guest offset " + std::to_string(offset - in_cluster);
    co_await fail(std::move(done.error()).with_context(place_text));
  }
  if (!whole) std::memcpy(into.data(), target.data() + in_cluster, into.size());
}

Task<void> Qcow2Image::read_compressed(std::uint64_t offset, std::span<std::byte> into) {
  auto read_clusters = [&](TaskGroup& group) -> Task<void> {
    while (!into.empty() && !group.failed()) {
      const std::uint64_t left = header_.cluster_size() - offset % header_.cluster_size();
      const std::size_t piece = std::min<std::uint64_t>(into.size(), left);
      co_await group.spawn(read_compressed_cluster(offset, into.first(piece)));
      offset += piece;
      into = into.subspan(piece);
    }
  };
  co_await with_group(kDecompressAtOnce, read_clusters);
}

Bitmaps* Qcow2Image::bitmaps() noexcept { return writing_ ? &writing_->bitmaps : nullptr; }

Task<DirtyBits> Qcow2Image::read_bitmap(std::string name) {
  if (writing_) co_return co_await writing_->bitmaps.read(std::move(name));
  co_return co_await read_bitmap_named(header_, *file_, std::move(name), memory_max_);
}

Task<void> Qcow2Image::show_snapshot(SnapshotKey key) {
  PLATTER_CHECK(!writing_ && map_);
  const SnapshotTable table = co_await read_snapshots(header_, *file_);
  const Snapshot* const found = find_snapshot(table.snapshots, key);
  if (found == nullptr) co_await fail(ErrorKind::not_found, "Can't find snapshot");
  if (found->disk_size > kMaxFileSize) {
    co_await fail(ErrorKind::corrupt_image, "'" + filename_ + "': the disk size of snapshot '" +
                                                found->name + "' is not possible");
  }
  auto map = std::make_unique<ClusterMap>(header_, *file_, data(), *cache_);
  co_await map->load_l1(found->l1_table_offset, found->l1_size);
  map_ = std::move(map);
  header_.l1_table_offset = found->l1_table_offset;
  header_.l1_size = found->l1_size;
  header_.size = align_down(found->disk_size, kSectorSize);
}

Task<void> Qcow2Image::finish() {
  if (writing_) co_await writing_->finish();
}

Task<void> Qcow2Image::close() {
  Result<void> first = co_await finish().result();
  writing_.reset();
  map_.reset();
  cache_.reset();
  for (File* file : {file_.get(), data_file_.get()}) {
    if (file == nullptr) continue;
    Result<void> closed = co_await file->close().result();
    if (first) first = std::move(closed);
  }
  if (backing_) {
    Result<void> closed = co_await backing_->close().result();
    if (first) first = std::move(closed);
  }
  co_await std::move(first);
}

}  // namespace platter::qcow2
