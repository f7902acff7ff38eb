// An image that platter and QEMU's tools take turns with, and the model of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "formats/open.h"
#include "formats/qcow2/qcow2_image.h"
#include "io/ring.h"
#include "tests/formats/qcow2/check_tools.h"
#include "tests/formats/qcow2/random/image_model.h"
#include "tests/formats/qcow2/random/option_sets.h"
#include "tests/support/crash_file.h"
#include "tests/support/disk_files.h"
#include "tests/support/random_ops.h"
#include "tests/support/run_command.h"
#include "tests/support/shared_file.h"
#include "tests/support/temp_dir.h"

namespace platter::qcow2::test {

/// While platter has the image it is either a real file, as users have it, or in memory, where
/// operations finish in an order that depends on the seed, and what was discarded reads as garbage.
class ImageRig {
 public:
  ImageRig(const OptionSet& set, std::uint64_t seed) : set_(set), random_(seeded(set, seed)) {
    in_memory_ = below(2) == 0;
  }

  const OptionSet& set() const { return set_; }
  bool in_memory() const { return in_memory_; }
  Ring& ring() { return *ring_; }
  const std::string& path() const { return path_; }
  ImageModel& model() { return model_; }
  std::uint64_t random() { return random_(); }
  std::uint64_t below(std::uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }

  template <class T>
  Result<T> run(Task<T> task) {
    return ring_->run(std::move(task));
  }
  /// A failure of the test if it fails.
  void must(Task<void> task, const std::string& what) {
    const Result<void> done = run(std::move(task));
    EXPECT_TRUE(done) << what << ": " << done.error().message();
  }

  /// As qemu-img makes it, with its backing chain.
  void create() {
    std::string below;
    for (std::size_t i = set_.backing.size(); i-- > 0;) below = create_backing(i, below);
    std::vector<std::string> words = create_words(set_.options, below, "qcow2");
    words.insert(words.end(), {path_, std::to_string(set_.size)});
    qemu_img(words);
    Bytes contents;
    if (!below.empty()) contents = raw_contents(folder_ / below, {});
    model_ = ImageModel(set_, contents);
    take_from_disk();
  }

  std::unique_ptr<Qcow2Image> open(bool writable) {
    auto image = run(in_memory_ ? open_in_memory(writable) : open_file(writable));
    EXPECT_TRUE(image) << image.error().message();
    return image ? std::move(*image) : nullptr;
  }

  /// Makes path() what platter left, for others to look at.
  void put_on_disk() {
    if (!in_memory_) return;
    platter::test::write_disk(path_, file_->live());
    if (data_) platter::test::write_disk(folder_ / "data", data_->live());
  }
  /// Others changed path().
  void take_from_disk() {
    if (!in_memory_) return;
    file_ = in_memory("image");
    if (set_.data_file()) data_ = in_memory("data");
  }
  platter::test::Disk disk() const {
    return in_memory_ ? file_->live() : platter::test::read_disk(path_);
  }
  platter::test::Disk data_disk() const {
    return in_memory_ ? data_->live() : platter::test::read_disk(folder_ / "data");
  }
  Checked check() {
    platter::test::CrashFile file(disk());
    Result<Checked> checked = run(check_file(file));
    EXPECT_TRUE(checked) << checked.error().message();
    return checked ? std::move(*checked) : Checked();
  }

  // --- QEMU's tools, on what is on the disk

  std::string in_folder(const std::string& name) const { return folder_ / name; }
  platter::test::CommandResult try_qemu_img(std::vector<std::string> words) {
    words.insert(words.begin(), "qemu-img");
    return platter::test::run_command({.argv = std::move(words), .folder = folder_.path()});
  }
  std::string qemu_img(const std::vector<std::string>& words) {
    return expect_ok(try_qemu_img(words), words);
  }
  void qemu_io(const std::string& path, const std::string& format,
               const std::vector<std::string>& commands) {
    std::vector<std::string> words{"qemu-io", "-f", format, "-d", "unmap"};
    for (const std::string& command : commands) words.insert(words.end(), {"-c", command});
    words.push_back(path);
    expect_ok(platter::test::run_command({.argv = words, .folder = folder_.path()}), words);
  }
  Bytes raw_contents(const std::string& path, const std::vector<std::string>& options) {
    const std::string raw = folder_ / "contents.raw";
    std::vector<std::string> words{"convert", "-O", "raw"};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {path, raw});
    qemu_img(words);
    return platter::test::read_disk(raw).bytes();
  }
  /// Whether qemu-img, too, would fail to do this to the image.
  bool qemu_img_refuses(std::vector<std::string> words) {
    put_on_disk();
    words.push_back(copy());
    return !try_qemu_img(words).ok();
  }
  /// Of path(), for a tool to change.
  std::string copy() const {
    const std::string copy = folder_ / "copy";
    std::filesystem::copy_file(path_, copy, std::filesystem::copy_options::overwrite_existing);
    return copy;
  }

  // --- what was done, for whoever has to find out what went wrong

  void note(std::string what) {
    history_.push_back(std::move(what));
    if (history_.size() > 30) history_.pop_front();
  }
  const std::string& last() const { return history_.back(); }
  void print_history() const {
    for (const std::string& what : history_) std::cout << "    " << what << "\n";
  }

 private:
  static std::mt19937_64 seeded(const OptionSet& set, std::uint64_t seed) {
    std::vector<std::uint32_t> words(set.name.begin(), set.name.end());
    words.push_back(static_cast<std::uint32_t>(seed));
    words.push_back(static_cast<std::uint32_t>(seed >> 32));
    std::seed_seq sequence(words.begin(), words.end());
    return std::mt19937_64(sequence);
  }

  std::string expect_ok(platter::test::CommandResult result,
                        const std::vector<std::string>& words) {
    EXPECT_TRUE(result.ok()) << [&] {
      std::string text;
      for (const std::string& word : words) text += word + " ";
      return text + ": " + result.out + result.err;
    }();
    return std::move(result.out);
  }
  static std::vector<std::string> create_words(const std::string& options, const std::string& below,
                                               const std::string& format) {
    std::vector<std::string> words{"create", "-q", "-f", format};
    if (!options.empty()) words.insert(words.end(), {"-o", options});
    if (!below.empty()) {
      words.insert(words.end(), {"-b", below, "-F", below.substr(below.find('.') + 1)});
    }
    return words;
  }

  // Returns its name, which ends with its format.
  std::string create_backing(std::size_t index, const std::string& below) {
    const BackingLayer& layer = set_.backing[index];
    const std::string name = "backing" + std::to_string(index) + "." + layer.format;
    std::vector<std::string> words = create_words("", below, layer.format);
    words.insert(words.end(), {name, std::to_string(layer.size)});
    qemu_img(words);
    std::vector<std::string> commands;
    for (int i = 0; i < 12; ++i) {
      const std::uint64_t offset = align_down(this->below(layer.size), 512);
      const std::uint64_t length =
          std::min(512 + align_down(this->below(layer.size / 6), 512), layer.size - offset);
      const std::string range = std::to_string(offset) + " " + std::to_string(length);
      const bool zero = i % 4 == 3;
      commands.push_back(zero ? "write -z " + range
                              : "write -P " + std::to_string(1 + this->below(254)) + " " + range);
    }
    // The first and the last cluster, so that ends show.
    commands.push_back("write -P 251 0 512");
    commands.push_back("write -P 252 " + std::to_string(layer.size - 512) + " 512");
    qemu_io(name, layer.format, commands);
    return name;
  }

  std::unique_ptr<platter::test::CrashFile> in_memory(const std::string& name) {
    return std::make_unique<platter::test::CrashFile>(
        platter::test::read_disk(folder_ / name),
        platter::test::CrashFileOptions{
            .name = name, .yields_max = 2, .seed = random_(), .discarded = std::byte{0xd5}});
  }
  OpenPolicy policy() const {
    OpenPolicy policy;
    policy.follow_references = true;
    policy.memory_max = set_.memory_max;
    return policy;
  }
  Task<std::unique_ptr<Qcow2Image>> open_file(bool writable) {
    const OpenPurpose purpose = writable ? OpenPurpose::write : OpenPurpose::read;
    OpenedImage opened =
        co_await open_image(path_, {.purpose = purpose, .format = "qcow2"}, policy());
    co_return std::unique_ptr<Qcow2Image>(dynamic_cast<Qcow2Image*>(opened.image.release()));
  }
  Task<std::unique_ptr<Qcow2Image>> open_in_memory(bool writable) {
    auto image = co_await Qcow2Image::open(std::make_unique<platter::test::SharedFile>(*file_),
                                           path_, set_.memory_max);
    std::unique_ptr<Image> backing;
    if (!set_.backing.empty()) {
      const std::string& format = set_.backing[0].format;
      OpenedImage opened =
          co_await open_image(folder_ / ("backing0." + format), {.format = format}, policy());
      backing = std::move(opened.image);
    }
    std::unique_ptr<File> data;
    if (data_) data = std::make_unique<platter::test::SharedFile>(*data_);
    co_await image->connect(std::move(backing), std::move(data), writable);
    co_return image;
  }

  OptionSet set_;
  std::mt19937_64 random_;
  bool in_memory_ = false;
  platter::test::TempDir folder_;
  std::string path_ = folder_ / "image";
  std::unique_ptr<Ring> ring_ = Ring::create().value();
  std::unique_ptr<platter::test::CrashFile> file_;  // null: a real file
  std::unique_ptr<platter::test::CrashFile> data_;
  ImageModel model_;
  std::deque<std::string> history_;
};

}  // namespace platter::qcow2::test
