// A LUKS image: a header, key slots, and the guest's bytes, encrypted.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "crypto/cipher_file.h"
#include "crypto/key_cost.h"
#include "crypto/luks2.h"
#include "formats/image.h"
#include "formats/luks/luks1_amend.h"
#include "formats/luks/luks1_header.h"
#include "formats/luks/luks_info.h"

namespace platter::luks {

/// The header may lie in a file of its own.
struct LuksFiles {
  std::unique_ptr<File> payload;  ///< and the header, if there is no other file
  std::unique_ptr<File> header;   ///< or null
};

struct LuksOpenOptions {
  /// Nothing: the image stays locked. Then it tells what its header says, and nothing else.
  const Secret* passphrase = nullptr;
  KeyCostLimits limits{};
};

/// Guest byte n is byte n of a CipherFile: data through and through, whatever the file's holes. So what is
/// added by resize() reads as noise, as with cryptsetup and QEMU.
class LuksImage final : public Image {
 public:
  /// Errors: unknown_format, corrupt_image, unsupported, permission (no slot has the passphrase),
  /// too_large (a slot asks for more work than the limits). The files are the image's, or gone.
  static Task<std::unique_ptr<LuksImage>> open(LuksFiles files, std::string filename,
                                               LuksOpenOptions options);
  /// One that was just made: the key is known.
  static Result<std::unique_ptr<LuksImage>> of_new(std::unique_ptr<File> file, std::string filename,
                                                   const Luks1Header& header, Secret key,
                                                   std::uint64_t file_size);

  const std::string& filename() const noexcept override { return filename_; }
  std::string_view format() const noexcept override { return "luks"; }
  std::uint64_t virtual_size() const noexcept override { return virtual_size_; }
  bool read_only() const noexcept override { return files_.payload->traits().read_only; }
  File& file() noexcept override;
  Task<ImageInfo> info() override;
  const LuksInfo& luks_info() const noexcept { return info_; }
  /// Key slots changed. Errors: as amend_luks1(); unsupported (LUKS2), permission (locked).
  Task<void> amend(LuksAmendOptions options);

  Task<std::vector<Mapping>> map(std::uint64_t offset, std::uint64_t length,
                                 std::size_t count_max) override;
  Task<void> read(std::uint64_t offset, std::span<std::byte> into) override;
  Task<void> write(std::uint64_t offset, std::span<const std::byte> data) override;
  Task<WritePlace> prepare_write(std::uint64_t offset, std::uint64_t length) override;
  Task<void> commit_write(const WritePlace& place) override;
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) override;
  Task<void> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<void> resize(std::uint64_t size, ResizeOptions options) override;
  Task<void> flush() override { return files_.payload->flush(); }
  Task<void> close() override;

 private:
  LuksImage(LuksFiles files, std::string filename)
      : files_(std::move(files)), filename_(std::move(filename)) {}
  File& header_file() noexcept { return files_.header ? *files_.header : *files_.payload; }
  Task<void> load(LuksOpenOptions options);
  Task<void> load_luks1(std::span<const std::byte> head, LuksOpenOptions options);
  Task<void> load_luks2(LuksOpenOptions options);
  Result<void> unlock(const CipherSpec& spec, const Secret& key);
  Task<void> measure();
  Result<void> check_unlocked() const;

  LuksFiles files_;
  std::string filename_;
  LuksInfo info_;
  std::optional<Luks1Header> header_;        // LUKS1
  Secret key_;                               // when unlocked, for amend()
  std::optional<std::uint64_t> fixed_size_;  // LUKS2
  std::uint64_t virtual_size_ = 0;
  std::unique_ptr<CipherFile> plain_;  // null: locked
};

/// What a LUKS1 header tells.
LuksInfo info_of(const Luks1Header& header);

}  // namespace platter::luks
