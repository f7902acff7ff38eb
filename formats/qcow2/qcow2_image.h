// An open qcow2 image. For now read-only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "formats/open_policy.h"
#include "formats/qcow2/bitmap_directory.h"
#include "formats/qcow2/cluster_map.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/snapshot_table.h"
#include "formats/read_only_image.h"

namespace platter::qcow2 {

/// Reads versions 2 and 3 with every feature but encryption. Writing is refused (unsupported).
class Qcow2Image final : public ReadOnlyImage {
 public:
  /// Reads and checks the header. What the image names is opened by the caller and given to
  /// connect() before anything else is done. Errors: unknown_format, unsupported, corrupt_image.
  static Task<std::unique_ptr<Qcow2Image>> open(std::unique_ptr<File> file, std::string filename,
                                                std::uint64_t memory_max);

  const Header& header() const noexcept { return header_; }
  /// Takes the files that the header names; null where it names none, or where only metadata will
  /// be asked for. Then reads the L1 table.
  Task<void> connect(std::unique_ptr<Image> backing, std::unique_ptr<File> data_file);

  const std::string& filename() const noexcept override { return filename_; }
  std::string_view format() const noexcept override { return "qcow2"; }
  std::uint64_t virtual_size() const noexcept override { return header_.size; }
  File& file() noexcept override { return *file_; }
  File* data_file() noexcept override { return data_file_.get(); }
  Image* backing() noexcept override { return backing_.get(); }
  Task<ImageInfo> info() override;

  Task<std::vector<Mapping>> map(std::uint64_t offset, std::uint64_t length,
                                 std::size_t count_max) override;
  Task<void> read_compressed(std::uint64_t offset, std::span<std::byte> into) override;
  Task<void> close() override;

 private:
  Qcow2Image(std::unique_ptr<File> file, std::string filename, std::uint64_t memory_max);
  File& data() noexcept { return data_file_ ? *data_file_ : *file_; }
  Task<void> read_compressed_cluster(std::uint64_t offset, std::span<std::byte> into);

  std::unique_ptr<File> file_;
  std::string filename_;
  std::uint64_t memory_max_;
  Header header_;
  std::unique_ptr<File> data_file_;
  std::unique_ptr<Image> backing_;
  std::unique_ptr<ClusterMap> map_;
  std::uint64_t data_size_ = 0;  // of the data clusters' file, when opened
};

}  // namespace platter::qcow2
