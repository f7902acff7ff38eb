// What the targets that change qcow2 images share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/qcow2/check.h"
#include "formats/qcow2/qcow2_image.h"
#include "formats/raw/raw_image.h"
#include "io/bytes.h"
#include "io/check.h"
#include "io/frame_pool.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "tests/support/shared_file.h"

namespace platter::qcow2::fuzz {

/// One thing to do, as four bytes of the input say.
struct Step {
  static constexpr std::size_t kSize = 4;

  unsigned kind = 0;
  unsigned number = 0;    ///< of 16 bits
  std::size_t count = 0;  ///< up to 65025, small ones more often

  explicit Step(std::span<const std::byte> bytes)
      : kind(std::to_integer<unsigned>(bytes[0])),
        number(std::to_integer<unsigned>(bytes[1]) << 8 | std::to_integer<unsigned>(bytes[2])),
        count(std::to_integer<std::size_t>(bytes[3]) * std::to_integer<std::size_t>(bytes[3])) {}

  /// A range within a disk of `size` bytes.
  std::uint64_t offset(std::uint64_t size) const noexcept {
    return size == 0 ? 0 : std::uint64_t{number} * 515 % size;
  }
  std::size_t length(std::uint64_t size) const noexcept {
    return std::min<std::uint64_t>(count, size - offset(size));
  }
};

/// An input is an image, and behind it a few steps.
class Input {
 public:
  static constexpr std::size_t kSteps = 8;

  explicit Input(std::span<const std::byte> bytes) : image_(bytes) {
    constexpr std::size_t kTail = kSteps * Step::kSize;
    if (bytes.size() < kTail) return;
    image_ = bytes.first(bytes.size() - kTail);
    for (std::size_t at = image_.size(); at < bytes.size(); at += Step::kSize) {
      steps_.emplace_back(bytes.subspan(at, Step::kSize));
    }
  }
  std::span<const std::byte> image() const noexcept { return image_; }
  const std::vector<Step>& steps() const noexcept { return steps_; }

 private:
  std::span<const std::byte> image_;
  std::vector<Step> steps_;
};

/// The image's files, which outlive that it is open.
class Files {
 public:
  Task<void> put(std::span<const std::byte> image) { return file_.write(0, image); }

  /// A backing file and a data file are there if the header names one.
  Task<std::unique_ptr<Qcow2Image>> open(bool writable) {
    auto image =
        co_await Qcow2Image::open(std::make_unique<test::SharedFile>(file_), "fuzzed", 256 * kKiB);
    std::unique_ptr<Image> backing;
    if (image->header().backing_file) {
      backing = co_await RawImage::open(std::make_unique<MemoryFile>("backing", 100 * kKiB), "b");
    }
    std::unique_ptr<File> data;
    if (image->header().has_data_file()) data = std::make_unique<test::SharedFile>(data_);
    Result<void> connected =
        co_await image->connect(std::move(backing), std::move(data), writable).result();
    if (!connected) {
      (void)co_await image->close().result();
      co_await std::move(connected);
    }
    co_return image;
  }

  /// What a check says is corrupt, one thing in a line. Counts that are too high do no harm, and
  /// are not seen where the file has ended so far.
  Task<std::string> faults() {
    Header header = co_await read_header_for_check(file_);
    std::string lines;
    CheckOptions options;
    options.on_message = [&](std::string_view line) { lines.append(line) += '\n'; };
    const CheckReport report = co_await check_refcounts(header, file_, std::move(options));
    if (report.check_errors == 0 && report.corruptions == 0) lines.clear();
    co_return lines;
  }

 private:
  MemoryFile file_{"fuzzed"};
  MemoryFile data_{"data"};
};

/// What was written is read back.
inline Task<void> write_and_read(Image& image, const Step& step) {
  const std::vector<std::byte> data(step.length(image.virtual_size()),
                                    static_cast<std::byte>(step.count | 1));
  const std::uint64_t offset = step.offset(image.virtual_size());
  co_await image.write(offset, data);
  std::vector<std::byte> seen(data.size());
  co_await image.read(offset, seen);
  PLATTER_CHECK(seen == data);
}

/// Does the steps by `Change::step(Qcow2Image&, const Step&)`; a step that fails is done with.
/// Kinds of 250 and more close the image and open it again. What was not corrupt does not become so.
template <class Change>
Task<void> change_image(std::span<const std::byte> bytes) {
  const Input input(bytes);
  Files files;
  co_await files.put(input.image());
  const Result<std::string> before = co_await files.faults().result();
  const bool was_sound = before && before->empty();
  std::unique_ptr<Qcow2Image> image = co_await files.open(/*writable=*/true);
  for (const Step& step : input.steps()) {
    if (step.kind < 250) {
      (void)co_await Change::step(*image, step).result();
      continue;
    }
    (void)co_await image->close().result();
    image.reset();
    Result<std::unique_ptr<Qcow2Image>> again = co_await files.open(/*writable=*/true).result();
    PLATTER_CHECK(again || !was_sound);
    image = co_await std::move(again);
  }
  (void)co_await image->close().result();
  image.reset();
  if (!was_sound) co_return;
  const std::string after = co_await files.faults();
  std::fputs(after.c_str(), stderr);
  PLATTER_CHECK(after.empty());
}

/// A task to its end, whatever that is. The frames that it leaves for the next one are no leak.
inline void run(Task<void> task) {
  static const auto ring = *Ring::create();
  (void)ring->run(std::move(task)).has_value();
  FramePool::trim();
}

}  // namespace platter::qcow2::fuzz
