#include "src/ops/rebase.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "formats/node_options.h"
#include "formats/qcow2/qcow2_image.h"
#include "formats/reference.h"
#include "src/ops/backing.h"
#include "src/ops/rebase_copy.h"

namespace platter {
namespace {

class Rebase {
 public:
  Rebase(Image& overlay, RebaseOptions options) : overlay_(overlay), options_(std::move(options)) {}

  Task<RebaseStats> run();

 private:
  Task<RebaseStats> run_safe();
  Task<RebaseStats> run_opened();
  Task<void> find_new_backing();
  Result<void> check_apart() const;
  Task<void> check();
  Task<void> change_name();
  qcow2::BackingReference reference() const;
  Error in_context(const Error& error) const;

  Image& overlay_;
  RebaseOptions options_;
  qcow2::Qcow2Image* qcow2_ = nullptr;
  std::unique_ptr<Image> opened_;  // the new backing image, unless it is in the overlay's chain
  Image* new_ = nullptr;           // null: none
};

qcow2::BackingReference Rebase::reference() const {
  return {.name = options_.backing_name,
          .format = options_.backing_name ? options_.backing_format : std::nullopt};
}

// qemu-img's words, where it has some.
Error Rebase::in_context(const Error& error) const {
  const bool full = error.kind() == ErrorKind::no_space;
  Error told = full ? Error(error.kind(), "No space left in the file header") : error.clone();
  return std::move(told).with_context(
      fmt::format("Could not change the backing file to '{}'", options_.backing_name.value_or("")));
}

// What would stand in the way at the end is found at the beginning.
Task<void> Rebase::check() {
  qcow2_ = dynamic_cast<qcow2::Qcow2Image*>(&overlay_);
  if (qcow2_ == nullptr) {
    co_await fail(in_context({ErrorKind::unsupported, "Operation not supported"}));
  }
  if (options_.backing_name && !options_.backing_format) {
    co_await fail(in_context({ErrorKind::invalid_argument, "backing format must be specified"}));
  }
  Result<void> possible = co_await qcow2_->check_backing_file(reference()).result();
  if (!possible) co_await fail(in_context(possible.error()));
}

Task<void> Rebase::change_name() {
  Result<void> changed = co_await qcow2_->set_backing_file(reference()).result();
  if (!changed) co_await fail(in_context(changed.error()));
}

// One in the overlay's chain is open already, unless it is to be seen in another way.
Task<void> Rebase::find_new_backing() {
  if (!options_.backing_name) co_return;
  const std::string& name = *options_.backing_name;
  Image* const known = find_backing_image(overlay_, name);
  if (known != nullptr &&
      options_.backing_format.value_or(std::string(known->format())) == known->format()) {
    new_ = known;
    co_return;
  }
  const OpenOptions open{.purpose = OpenPurpose::read_stable,
                         .format = options_.backing_format.value_or(""),
                         .cache = options_.new_cache,
                         .force_share = options_.force_share};
  Result<OpenedImage> opened =
      co_await open_image(referenced_path(overlay_.filename(), name), open, options_.policy)
          .result();
  if (!opened) {
    co_await fail(std::move(opened.error())
                      .with_context(fmt::format("Could not open new backing file '{}'", name)));
  }
  opened_ = std::move(opened->image);
  new_ = opened_.get();
}

// Locks find this out, too, where they are asked for.
Result<void> Rebase::check_apart() const {
  if (!opened_) return {};
  const auto id = overlay_.file().id();
  const std::vector<FileId> files = files_of_chain(*opened_);
  if (!id || std::ranges::find(files, *id) == files.end()) return {};
  return fail(ErrorKind::in_use, fmt::format("'{}' is in the backing chain of '{}'",
                                             overlay_.filename(), *options_.backing_name));
}

Task<RebaseStats> Rebase::run_opened() {
  co_await check_apart();
  co_await check();
  RebaseCopy copy(*qcow2_, new_, options_);
  const RebaseStats stats = co_await copy.run();
  co_await change_name();
  co_return stats;
}

Task<RebaseStats> Rebase::run_safe() {
  co_await find_new_backing();
  Result<RebaseStats> done = co_await run_opened().result();
  if (opened_) {
    Result<void> closed = co_await opened_->close().result();
    if (done && !closed) done = fail(std::move(closed.error()));
  }
  co_return co_await std::move(done);
}

Task<RebaseStats> Rebase::run() {
  const std::string format = options_.backing_format.value_or("raw");
  if (format != "raw" && format != "qcow2" && !is_file_driver(format)) {
    co_return fail(ErrorKind::unknown_format, fmt::format("Invalid format name: '{}'", format));
  }
  if (!options_.unsafe) co_return co_await run_safe();
  co_await check();
  co_await change_name();
  co_return RebaseStats();
}

}  // namespace

Task<RebaseStats> rebase(Image& overlay, RebaseOptions options) {
  Rebase rebase(overlay, std::move(options));
  co_return co_await rebase.run();
}

}  // namespace platter
