// An open qcow2 image.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "formats/image.h"
#include "formats/qcow2/bitmap_bits.h"
#include "formats/qcow2/bitmap_directory.h"
#include "formats/qcow2/cluster_map.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/metadata_cache.h"
#include "formats/qcow2/snapshot_table.h"

namespace platter::qcow2 {

class Bitmaps;
class Writing;
struct AmendOptions;
struct NewSnapshot;

/// A backing file as a header names it.
struct BackingReference {
  std::optional<std::string> name;
  std::optional<std::string> format;
};

/// Versions 2 and 3 with every feature but encryption.
///
/// Any number of requests may be in flight, also beside flush(). What was written is durable after
/// flush(); see epochs.h for the order in which it gets there. A flush that failed ends writing for
/// good: reading goes on.
class Qcow2Image final : public Image {
 public:
  /// Reads and checks the header. What the image names is opened by the caller and given to
  /// connect() before anything else is done. Errors: unknown_format, unsupported, corrupt_image.
  static Task<std::unique_ptr<Qcow2Image>> open(std::unique_ptr<File> file, std::string filename,
                                                std::uint64_t memory_max);
  ~Qcow2Image() override;

  const Header& header() const noexcept { return header_; }
  /// What filename() is from now on, for an image that a path alone does not tell.
  void set_shown_name(std::string name) { shown_name_ = std::move(name); }
  /// The path that names inside the image are relative to.
  const std::string& location() const noexcept { return filename_; }
  /// See OpenOptions. Before connect().
  void set_discard_no_unref(bool on) noexcept { discard_no_unref_ = on; }
  /// Takes the files that the header names; null where it names none, or where only metadata will
  /// be asked for. Then reads the L1 table. `writable`: the file was opened for writing, and
  /// requests may write. Errors then: corrupt_image (marked as such), unsupported.
  Task<void> connect(std::unique_ptr<Image> backing, std::unique_ptr<File> data_file,
                     bool writable = false);

  const std::string& filename() const noexcept override {
    return shown_name_.empty() ? filename_ : shown_name_;
  }
  std::string_view format() const noexcept override { return "qcow2"; }
  std::uint64_t virtual_size() const noexcept override { return header_.size; }
  bool read_only() const noexcept override { return !writing_; }
  File& file() noexcept override { return *file_; }
  File* data_file() noexcept override { return data_file_.get(); }
  Image* backing() noexcept override { return backing_.get(); }
  Task<ImageInfo> info() override;

  Task<std::vector<Mapping>> map(std::uint64_t offset, std::uint64_t length,
                                 std::size_t count_max) override;
  Task<void> read_compressed(std::uint64_t offset, std::span<std::byte> into) override;
  Task<void> read(std::uint64_t offset, std::span<std::byte> into) override;

  Task<WritePlace> prepare_write(std::uint64_t offset, std::uint64_t length) override;
  Task<void> commit_write(const WritePlace& place) override;
  Task<void> abandon_write(const WritePlace& place) override;
  Task<void> write(std::uint64_t offset, std::span<const std::byte> data) override;
  Task<void> write_compressed(std::uint64_t offset, std::span<const std::byte> data) override;
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) override;
  Task<void> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<void> resize(std::uint64_t size, ResizeOptions options) override;
  Task<void> flush() override;
  Task<void> finish() override;
  Task<void> close() override;

  /// The persistent dirty bitmaps of an image that is open for writing; null of others.
  Bitmaps* bitmaps() noexcept;
  /// A copy of a bitmap's bits. Errors: not_found, corrupt_image (it is inconsistent, too),
  /// out_of_memory, io.
  Task<DirtyBits> read_bitmap(std::string name);

  /// Takes an internal snapshot, deletes one, or goes back to one: contents and size are then the
  /// snapshot's. Other requests wait meanwhile; of a write that is in flight, a part may come before.
  /// Durable when it returns. What a crash or an error leaves: see snapshots.h. Errors: read_only; those of Snapshots.
  Task<void> create_snapshot(NewSnapshot snapshot, const CancelToken* cancel = nullptr);
  Task<void> delete_snapshot(SnapshotKey key, const CancelToken* cancel = nullptr);
  Task<void> apply_snapshot(SnapshotKey key, const CancelToken* cancel = nullptr);
  /// Changes options that the image was made with, step by step; see AmendPlan. What can't be is
  /// refused before anything is changed. After another error, or a crash, the image is whole and
  /// some of the steps are done; at worst there are clusters that are counted and not used. An error
  /// may end writing for good. Bitmaps that bitmaps() has told of are others afterwards.
  /// REQUIRES: no request is in flight. Errors: read_only; those of plan_amend(), no_space.
  Task<void> amend(AmendOptions options);
  /// Gives up all clusters: the disk reads as its backing image, or as zeroes. Snapshots and bitmaps
  /// stay. Durable when it returns. After a crash or an error each cluster is what it was or given up,
  /// and at worst some are counted and not used. REQUIRES: no request is in flight.
  /// Errors: read_only, corrupt_image, cancelled (nothing has changed then), io.
  Task<void> make_empty(const CancelToken* cancel = nullptr);
  /// Names another backing file, or none, in the header: durable when it returns, and the old name
  /// or the new one after a crash. What is open stays as it is, so nothing but close() is to follow.
  /// check_backing_file() finds the errors and changes nothing.
  /// Errors: read_only, no_space (the header), invalid_argument (a name that is too long; a raw data
  /// file, which is no longer all of the disk then), unsupported, io.
  Task<void> set_backing_file(BackingReference reference);
  Task<void> check_backing_file(BackingReference reference);
  /// From now on this read-only image is what it was when the snapshot was taken, in contents and
  /// size. REQUIRES: read_only(), connected, no request in flight.
  /// Errors: not_found, corrupt_image, io.
  Task<void> show_snapshot(SnapshotKey key);

 private:
  Qcow2Image(std::unique_ptr<File> file, std::string filename, std::uint64_t memory_max);
  File& data() noexcept { return data_file_ ? *data_file_ : *file_; }
  Result<void> check_request(std::uint64_t offset, std::uint64_t length) const;
  bool records_writes() const noexcept;
  Task<void> read_unguarded(std::uint64_t offset, std::span<std::byte> into);
  Task<void> read_compressed_cluster(std::uint64_t offset, std::span<std::byte> into);
  std::uint64_t cache_max() const noexcept;
  /// Bytes for refcount blocks, while an operation has the image to itself.
  std::uint64_t counts_memory_max() const noexcept { return memory_max_ / 8 * 5; }
  Task<void> make_writable();
  Task<void> start_writing();
  Task<void> change_refcount_width(unsigned order, const AmendOptions& options);
  Task<void> drop_clusters(std::vector<std::uint64_t> offsets);
  Task<void> downgrade(const AmendOptions& options);
  Task<void> forget_data_file_clusters();
  Task<std::uint64_t> data_end();
  Task<bool> has_holes_below();
  Task<std::vector<Mapping>> split_at_holes(std::vector<Mapping> mappings, std::size_t count_max);

  std::unique_ptr<File> file_;
  std::string filename_;
  std::string shown_name_;  // empty: filename_
  std::uint64_t memory_max_;
  bool discard_no_unref_ = false;
  Header header_;
  std::unique_ptr<File> data_file_;
  std::unique_ptr<Image> backing_;
  std::unique_ptr<MetadataCache> cache_;
  std::unique_ptr<ClusterMap> map_;
  std::unique_ptr<Writing> writing_;  // null: read-only
  std::uint64_t data_size_ = 0;       // of the data clusters' file, at least; see map()
  std::optional<bool> holes_below_;   // the file has holes below what the image calls data
};

}  // namespace platter::qcow2
