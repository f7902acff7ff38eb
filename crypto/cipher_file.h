// The decrypted view of an encrypted file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "crypto/sector_cipher.h"
#include "io/file.h"
#include "io/range_lock.h"

namespace platter {

/// Byte n is byte `offset` + n of the file below, decrypted; sectors are counted from there. The file
/// ends with the last whole sector below. What was never written reads as noise, so holes are data,
/// zeroes are written like anything else, and nothing is discarded: a discard would tell which sectors
/// are in use.
///
/// Requests of whole sectors are decrypted in the caller's memory, and encrypted into a buffer on the way
/// down; larger ones on workers. Others read, change and write the sectors at their ends, under a lock.
class CipherFile final : public File {
 public:
  /// `offset`: bytes, a multiple of the sector size.
  CipherFile(std::unique_ptr<File> below, std::shared_ptr<SectorCipher> cipher,
             std::uint64_t offset);
  /// On a file that somebody else owns, outlives this one, and closes it.
  CipherFile(File& below, std::shared_ptr<SectorCipher> cipher, std::uint64_t offset);

  const std::string& name() const noexcept override { return below_.name(); }
  const FileTraits& traits() const noexcept override { return traits_; }
  std::optional<FileId> id() const noexcept override { return below_.id(); }
  /// The encrypted file.
  File& below() noexcept { return below_; }
  Task<std::uint64_t> size() override;
  Task<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override;
  Task<void> write(std::uint64_t offset, std::span<const std::byte> data) override;
  Task<void> flush() override { return below_.flush(); }
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) override;
  /// Does nothing.
  Task<void> discard(std::uint64_t offset, std::uint64_t length) override;
  /// What is added reads as noise.
  Task<void> truncate(std::uint64_t size) override;
  Task<void> allocate(std::uint64_t offset, std::uint64_t length) override;
  Task<std::optional<std::uint64_t>> space_left() override { return below_.space_left(); }
  Task<std::vector<Extent>> extents(std::uint64_t offset, std::uint64_t length,
                                    std::size_t count_max) override;
  Task<void> close() override;

 private:
  struct Range;
  Range sectors_around(std::uint64_t offset, std::uint64_t length) const noexcept;
  bool is_whole(std::uint64_t offset, std::uint64_t length) const noexcept;
  Result<void> check_place(std::uint64_t offset, std::uint64_t length) const;
  Task<std::size_t> read_sectors(std::uint64_t offset, std::span<std::byte> into);
  Task<void> write_sectors(std::uint64_t offset, std::span<const std::byte> data);
  Task<void> write_part(std::uint64_t offset, std::span<const std::byte> data);
  Task<void> write_zero_piece(std::uint64_t offset, std::span<const std::byte> zeroes);
  Task<void> crypt(bool encrypts, std::uint64_t offset, std::span<const std::byte> from,
                   std::byte* to);
  Task<void> crypt_piece(bool encrypts, std::uint64_t offset, std::span<const std::byte> from,
                         std::byte* to);
  Result<void> crypt_here(bool encrypts, std::uint64_t offset, std::span<const std::byte> from,
                          std::byte* to);

  std::unique_ptr<File> owned_;
  File& below_;
  std::shared_ptr<SectorCipher> cipher_;
  std::uint64_t offset_;
  FileTraits traits_;
  RangeLock lock_;  // writes of parts of sectors against all others
};

}  // namespace platter
