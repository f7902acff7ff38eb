#include "src/provision/generators.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <span>
#include <utility>
#include <vector>

#include "crypto/digest.h"
#include "io/direct_file.h"
#include "src/provision/run_program.h"

namespace platter::provision {
namespace {

// How each mkfs is called. -F, -f: whatever is there already, and without a question.
struct MakeFilesystem {
  Filesystem filesystem;
  std::string_view name;
  const char* program;
  std::vector<std::string> options;
  const char* label_option;
  std::size_t label_max;  // bytes
};

const std::array<MakeFilesystem, 3>& filesystems() {
  static const std::array<MakeFilesystem, 3> table = {
      MakeFilesystem{Filesystem::ext4, "ext4", "mkfs.ext4", {"-q", "-F"}, "-L", 16},
      MakeFilesystem{Filesystem::xfs, "xfs", "mkfs.xfs", {"-q", "-f"}, "-L", 12},
      MakeFilesystem{Filesystem::vfat, "vfat", "mkfs.vfat", {"-I"}, "-n", 11}};
  return table;
}

const MakeFilesystem& entry_of(Filesystem filesystem) noexcept {
  return *std::ranges::find(filesystems(), filesystem, &MakeFilesystem::filesystem);
}

// Checks what holds for all of them, and makes the target as large as is wanted, all zeroes.
Task<void> prepare_target(File& target, std::uint64_t size, const FetchOptions& options,
                          const std::string& name) {
  if (options.limits.digest) {
    co_await fail(ErrorKind::invalid_argument, name + " is made here, and has no known digest");
  }
  if (size > options.limits.size_max) {
    co_await fail(ErrorKind::too_large,
                  name + " of " + std::to_string(size) + " bytes is larger than " +
                      std::to_string(options.limits.size_max) + " bytes, which is the limit");
  }
  co_await look_for_cancel(options.cancel);
  if (!target.traits().is_block_device) {
    co_await target.truncate(0);
    co_await target.truncate(size);
  } else if (const std::uint64_t has = co_await target.size(); has < size) {
    co_await fail(ErrorKind::no_space, "'" + target.name() + "' has " + std::to_string(has) +
                                           " bytes, and " + std::to_string(size) + " are needed");
  }
}

FetchResult made(std::uint64_t size, const FetchOptions& options) {
  if (options.progress != nullptr) {
    options.progress->set_total(size);
    options.progress->add(size);
  }
  return {.size = size};
}

class EmptySource final : public TemplateSource {
 public:
  explicit EmptySource(std::uint64_t size) : size_(size) {}
  const std::string& name() const noexcept override { return name_; }
  Task<FetchResult> fetch(File& target, FetchOptions options) override {
    co_await prepare_target(target, size_, options, name_);
    if (target.traits().is_block_device) {
      co_await target.write_zeroes(0, size_, ZeroMode::may_unmap);
    }
    co_return made(size_, options);
  }

 private:
  std::string name_ = "an empty disk";
  std::uint64_t size_;
};

class SwapSource final : public TemplateSource {
 public:
  SwapSource(std::uint64_t size, SwapOptions options) : size_(size), swap_(std::move(options)) {}
  const std::string& name() const noexcept override { return name_; }
  Task<FetchResult> fetch(File& target, FetchOptions options) override {
    const std::vector<std::byte> header = co_await swap_header(size_, swap_);
    co_await prepare_target(target, size_, options, name_);
    co_await target.write(0, header);
    co_return made(size_, options);
  }

 private:
  std::string name_ = "a swap area";
  std::uint64_t size_;
  SwapOptions swap_;
};

class FilesystemSource final : public TemplateSource {
 public:
  FilesystemSource(const MakeFilesystem& make, std::uint64_t size, std::string label)
      : make_(make),
        name_("the " + std::string(make.name) + " filesystem"),
        size_(size),
        label_(std::move(label)) {}
  const std::string& name() const noexcept override { return name_; }
  Task<FetchResult> fetch(File& target, FetchOptions options) override;

 private:
  const MakeFilesystem& make_;
  std::string name_;
  std::uint64_t size_;
  std::string label_;
};

Task<FetchResult> FilesystemSource::fetch(File& target, FetchOptions options) {
  const auto* file = dynamic_cast<DirectFile*>(&target);
  if (file == nullptr) {
    co_return fail(ErrorKind::unsupported, "'" + target.name() + "' can't be given to " +
                                               make_.program + ": it is not a file of its own");
  }
  ProgramCall call{.path = co_await find_program(make_.program), .arguments = make_.options};
  if (!label_.empty()) {
    call.arguments.emplace_back(make_.label_option);
    call.arguments.push_back(label_);
  }
  call.arguments.emplace_back(kProgramTarget);
  call.target_fd = file->fd();
  co_await prepare_target(target, size_, options, name_);
  co_await run_program(std::move(call), options.cancel);
  co_return made(size_, options);
}

}  // namespace

std::unique_ptr<TemplateSource> empty_source(std::uint64_t size) {
  return std::make_unique<EmptySource>(size);
}

std::unique_ptr<TemplateSource> swap_source(std::uint64_t size, SwapOptions options) {
  return std::make_unique<SwapSource>(size, std::move(options));
}

std::string_view to_string(Filesystem filesystem) noexcept { return entry_of(filesystem).name; }

Result<Filesystem> parse_filesystem(std::string_view name) {
  const auto known = std::ranges::find(filesystems(), name, &MakeFilesystem::name);
  if (known != filesystems().end()) return known->filesystem;
  return fail(ErrorKind::invalid_argument,
              "'" + std::string(name) + "' is not a filesystem: ext4, xfs or vfat");
}

Result<std::unique_ptr<TemplateSource>> filesystem_source(Filesystem filesystem, std::uint64_t size,
                                                          std::string label) {
  const MakeFilesystem& make = entry_of(filesystem);
  const bool known = std::ranges::all_of(label, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '-';
  });
  if (!known || label.starts_with('-') || label.size() > make.label_max) {
    return fail(ErrorKind::invalid_argument, "'" + label + "' can't be the label of an " +
                                                 std::string(make.name) + " filesystem: up to " +
                                                 std::to_string(make.label_max) +
                                                 " letters, digits, '_', '.', '-'");
  }
  return std::make_unique<FilesystemSource>(make, size, std::move(label));
}

Result<std::string> ephemeral_base_name(std::uint64_t size_gib, Filesystem filesystem) {
  auto digest = Digest::create("md5");
  if (!digest) return fail(std::move(digest.error()));
  if (auto done = digest->update(std::as_bytes(std::span(to_string(filesystem)))); !done) {
    return fail(std::move(done.error()));
  }
  const auto sum = digest->finish();
  if (!sum) return fail(sum.error().clone());
  return "ephemeral_" + std::to_string(size_gib) + "_" + hex_text(*sum).substr(0, 7);
}

std::string swap_base_name(std::uint64_t size_mib) { return "swap_" + std::to_string(size_mib); }

}  // namespace platter::provision
