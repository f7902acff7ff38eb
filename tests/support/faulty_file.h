// A File that fails, ends short or takes its time when a plan says so.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/file.h"
#include "tests/support/fault_plan.h"

namespace platter::test {

/// Decorates any File. Keeps the contract of File: a short read or write is a part followed by an
/// error, never a short count; a failed flush stays failed. size() and close() never fail here.
class FaultyFile final : public File {
 public:
  /// `plan` outlives the file.
  FaultyFile(std::unique_ptr<File> file, FaultPlan& plan) : file_(std::move(file)), plan_(plan) {}

  /// The file below.
  File& below() noexcept { return *file_; }

  const std::string& name() const noexcept override { return file_->name(); }
  const FileTraits& traits() const noexcept override { return file_->traits(); }
  std::optional<FileId> id() const noexcept override { return file_->id(); }
  Task<std::uint64_t> size() override { return file_->size(); }
  Task<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override;
  Task<void> write(std::uint64_t offset, std::span<const std::byte> data) override;
  Task<std::size_t> readv(std::uint64_t offset, std::span<const iovec> into) override;
  Task<void> writev(std::uint64_t offset, std::span<const iovec> data) override;
  Task<void> flush() override;
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) override;
  Task<void> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<void> truncate(std::uint64_t size) override;
  Task<void> allocate(std::uint64_t offset, std::uint64_t length) override;
  Task<std::optional<std::uint64_t>> space_left() override { return file_->space_left(); }
  Task<std::vector<Extent>> extents(std::uint64_t offset, std::uint64_t length,
                                    std::size_t count_max) override;
  Task<void> clone_from(File& source, std::uint64_t source_offset, std::uint64_t offset,
                        std::uint64_t length) override;
  Task<std::uint64_t> copy_from(File& source, std::uint64_t source_offset, std::uint64_t offset,
                                std::uint64_t length) override;
  Task<void> close() override { return file_->close(); }

 private:
  /// What an operation does: `fault` if there is one, otherwise everything and no error.
  Task<Fault> begin(FileOperation kind);
  Result<void> end(const Fault& fault, FileOperation kind,
                   std::optional<std::uint64_t> offset = std::nullopt) const;

  std::unique_ptr<File> file_;
  FaultPlan& plan_;
  std::optional<Error> flush_error_;
};

}  // namespace platter::test
