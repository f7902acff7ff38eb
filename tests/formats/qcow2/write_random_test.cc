// Random sequences of requests on qcow2 images of all kinds, against what they should hold, with
// QEMU's tools as the judge of what is on the disk in the end.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/open.h"
#include "io/bytes.h"
#include "io/ring.h"
#include "io/task_group.h"
#include "tests/support/random_ops.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::qcow2 {
namespace {

using Bytes = std::vector<std::byte>;

struct OptionSet {
  const char* name;
  const char* options;
  std::uint64_t size = 3 * kMiB;
  const char* backing_format = nullptr;  // null: no backing file
  std::uint64_t backing_size = 0;
};
void PrintTo(const OptionSet& set, std::ostream* stream) { *stream << set.name; }

std::uint64_t cluster_size_of(const OptionSet& set) {
  const std::string text = set.options;
  const auto at = text.find("cluster_size=");
  if (at == std::string::npos) return 64 * kKiB;
  std::size_t used = 0;
  const std::uint64_t number = std::stoull(text.substr(at + 13), &used);
  const char unit = text[at + 13 + used];
  return unit == 'k' ? number * kKiB : unit == 'M' ? number * kMiB : number;
}

class Qcow2WriteRandom : public testing::TestWithParam<OptionSet> {
 protected:
  void SetUp() override {
    if (!test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
    ring_ = Ring::create().value();
    seed_ = test::test_seed();
    random_.seed(seed_);
    make_image();
  }

  void run_tool(const std::vector<std::string>& argv) {
    const auto result = test::run_command({.argv = argv});
    ASSERT_TRUE(result.ok()) << argv[1] << ": " << result.out << result.err;
  }

  void make_image() {
    const OptionSet& set = GetParam();
    std::vector<std::string> create{"qemu-img", "create", "-q", "-f", "qcow2"};
    if (*set.options != '\0') create.insert(create.end(), {"-o", set.options});
    model_.assign(set.size, std::byte{0});
    if (set.backing_format != nullptr) {
      const std::string raw = folder_ / "backing.raw";
      const Bytes contents = test::random_bytes(set.backing_size, seed_ + 1);
      std::ofstream(raw, std::ios::binary)
          .write(reinterpret_cast<const char*>(contents.data()),
                 static_cast<std::streamsize>(contents.size()));
      backing_ = folder_ / "backing";
      run_tool({"qemu-img", "convert", "-O", set.backing_format, raw, backing_});
      std::copy_n(contents.begin(), std::min(contents.size(), model_.size()), model_.begin());
      create.insert(create.end(), {"-b", backing_, "-F", set.backing_format});
    }
    create.insert(create.end(), {image_path_, std::to_string(set.size)});
    run_tool(create);
  }

  std::unique_ptr<Image> open() {
    OpenPolicy policy;
    policy.follow_references = true;
    Result<OpenedImage> opened = ring_->run(open_image(
        image_path_, {.purpose = OpenPurpose::write, .format = "qcow2"}, std::move(policy)));
    EXPECT_TRUE(opened) << opened.error().message();
    return opened ? std::move(opened->image) : nullptr;
  }

  std::uint64_t below(std::uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }
  void pick_range(std::uint64_t& offset, std::uint64_t& length) {
    const std::uint64_t cluster = cluster_size_of(GetParam());
    const std::uint64_t size = model_.size();
    const std::uint64_t unit = below(2) == 0 ? cluster : below(2) == 0 ? 512 : 1;
    offset = align_down(below(size + 1), unit == 1 ? 1 : unit);
    length = below(3) == 0 ? below(8 * cluster) + 1 : below(cluster) + 1;
    if (below(2) == 0)
      length = std::max<std::uint64_t>(unit, align_down(length, unit == 1 ? 1 : unit));
    offset = std::min(offset, size);
    length = std::min(length, size - offset);
  }

  Task<void> do_step(Image& image) {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    pick_range(offset, length);
    switch (below(12)) {
      case 11: co_await write_compressed(image, offset, length); break;
      case 10: co_await resize(image); break;
      case 0:
      case 1:
      case 2:
      case 3: co_await write(image, offset, length); break;
      case 4: {
        const ZeroMode mode = below(2) == 0 ? ZeroMode::may_unmap : ZeroMode::keep_allocated;
        what_ = "write_zeroes " + std::to_string(offset) + "+" + std::to_string(length);
        co_await image.write_zeroes(offset, length, mode);
        std::fill_n(at(offset), length, std::byte{0});
        break;
      }
      case 5: {
        what_ = "discard " + std::to_string(offset) + "+" + std::to_string(length);
        co_await image.discard(offset, length);
        model_discard(offset, length);
        break;
      }
      case 6: co_await image.flush(); break;
      case 7: co_await many_writes(image); break;
      default: co_await compare(image, offset, length);
    }
  }
  Bytes::iterator at(std::uint64_t offset) {
    return model_.begin() + static_cast<std::ptrdiff_t>(offset);
  }
  Task<void> write(Image& image, std::uint64_t offset, std::uint64_t length) {
    what_ = "write " + std::to_string(offset) + "+" + std::to_string(length);
    const Bytes data = test::random_bytes(length, random_());
    co_await image.write(offset, data);
    std::ranges::copy(data, at(offset));
  }
  Task<void> resize(Image& image) {
    const std::uint64_t size = align_down(below(2 * GetParam().size), 512) + 512;
    what_ = "resize " + std::to_string(size);
    constexpr Preallocation kModes[] = {Preallocation::off, Preallocation::metadata,
                                        Preallocation::falloc, Preallocation::full};
    const bool grows = size > model_.size();
    co_await image.resize(size, {.preallocation = grows ? kModes[below(4)] : Preallocation::off});
    model_.resize(size);
  }
  Task<void> write_compressed(Image& image, std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t cluster = cluster_size_of(GetParam());
    offset = align_down(offset, cluster);
    length = std::min(align_up(length, cluster), model_.size() - offset);
    what_ = "write_compressed " + std::to_string(offset) + "+" + std::to_string(length);
    Bytes data(length, static_cast<std::byte>(random_()));
    test::fill_random(std::span(data).first(length / (1 + below(8))), random_());
    co_await image.write_compressed(offset, data);
    std::ranges::copy(data, at(offset));
  }
  // Small ones next to each other, so that many want the same new cluster.
  Task<void> many_writes(Image& image) {
    what_ = "many writes";
    const std::uint64_t cluster = cluster_size_of(GetParam());
    const std::uint64_t begin = below(model_.size() - std::min(model_.size(), 3 * cluster) + 1);
    auto body = [&](TaskGroup& group) -> Task<void> {
      std::uint64_t offset = begin;
      while (offset < model_.size() && offset < begin + 3 * cluster) {
        const std::uint64_t piece = std::min(below(cluster / 2) + 1, model_.size() - offset);
        co_await group.spawn(write(image, offset, piece));
        offset += piece;
      }
      co_await group.spawn(image.flush());
    };
    co_await with_group(64, body);
  }
  void model_discard(std::uint64_t offset, std::uint64_t length) {
    const bool v2 = std::string(GetParam().options).contains("compat=0.10");
    if (v2 && GetParam().backing_format != nullptr) return;
    const std::uint64_t cluster = cluster_size_of(GetParam());
    const std::uint64_t begin = align_up(offset, cluster);
    std::uint64_t end = align_down(offset + length, cluster);
    if (offset + length == model_.size()) end = model_.size();
    if (begin < end) std::fill_n(at(begin), end - begin, std::byte{0});
  }
  Task<void> compare(Image& image, std::uint64_t offset, std::uint64_t length) {
    Bytes bytes(length);
    co_await image.read(offset, bytes);
    for (std::uint64_t i = 0; i < length; ++i) {
      if (bytes[i] == model_[offset + i]) continue;
      ADD_FAILURE() << "differs at " << offset + i << " after " << what_;
      break;
    }
  }

  void judge() {
    const auto check = test::run_command("qemu-img", "check", image_path_);
    EXPECT_EQ(check.exit_code, 0) << check.out << check.err;
    const std::string raw = folder_ / "model.raw";
    std::ofstream(raw, std::ios::binary)
        .write(reinterpret_cast<const char*>(model_.data()),
               static_cast<std::streamsize>(model_.size()));
    const auto compared = test::run_command("qemu-img", "compare", raw, image_path_);
    EXPECT_EQ(compared.exit_code, 0) << compared.out << compared.err;
  }

  test::TempDir folder_;
  std::string image_path_ = folder_ / "image";
  std::string backing_;
  std::unique_ptr<Ring> ring_;
  std::uint64_t seed_ = 0;
  std::mt19937_64 random_;
  Bytes model_;
  std::string what_ = "nothing";
};

TEST_P(Qcow2WriteRandom, SequencesAgreeWithAModelAndQemuFindsNothingWrong) {
  std::unique_ptr<Image> image = open();
  ASSERT_TRUE(image);
  for (int i = 0; i < 400 && !HasFailure(); ++i) {
    const Result<void> done = ring_->run(do_step(*image));
    ASSERT_TRUE(done) << what_ << ": " << done.error().message();
    if (i % 50 != 49) continue;
    ASSERT_TRUE(ring_->run(image->close()));
    if (i % 100 == 99) judge();
    if (HasFailure()) return;
    image = open();
    ASSERT_TRUE(image);
    ASSERT_TRUE(ring_->run(compare(*image, 0, model_.size())));
  }
  ASSERT_TRUE(ring_->run(image->close()));
  judge();
}

INSTANTIATE_TEST_SUITE_P(
    Options, Qcow2WriteRandom,
    testing::Values(OptionSet{"default", ""}, OptionSet{"c512", "cluster_size=512", 1 * kMiB},
                    OptionSet{"c4k", "cluster_size=4k"},
                    OptionSet{"c2M", "cluster_size=2M", 20 * kMiB + 512},
                    OptionSet{"v2", "compat=0.10"},
                    OptionSet{"v2_c512", "compat=0.10,cluster_size=512", 300 * kKiB + 512},
                    OptionSet{"rc1", "refcount_bits=1,cluster_size=4k"},
                    OptionSet{"rc64_c512", "refcount_bits=64,cluster_size=512", 5 * kMiB},
                    OptionSet{"rc8", "refcount_bits=8"}, OptionSet{"extl2", "extended_l2=on"},
                    OptionSet{"extl2_16k", "extended_l2=on,cluster_size=16k"},
                    OptionSet{"prealloc", "preallocation=metadata"},
                    OptionSet{"back_raw", "", 3 * kMiB, "raw", 2 * kMiB + 100 * kKiB},
                    OptionSet{"back_longer", "cluster_size=4k", 1 * kMiB, "raw", 2 * kMiB},
                    OptionSet{"back_qcow2", "cluster_size=16k", 3 * kMiB, "qcow2", 2 * kMiB},
                    OptionSet{"back_extl2", "extended_l2=on", 3 * kMiB, "raw", 2 * kMiB + 512},
                    OptionSet{"back_v2", "compat=0.10,cluster_size=4k", 1 * kMiB, "raw", 1 * kMiB},
                    OptionSet{"lazy", "lazy_refcounts=on"}),
    [](const auto& set) { return std::string(set.param.name); });

}  // namespace
}  // namespace platter::qcow2
