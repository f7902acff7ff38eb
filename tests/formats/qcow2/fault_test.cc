// An error at every operation of the file below, for every kind of request: a clear error, an image
// that is consistent, and an object that goes on or fails cleanly.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/qcow2_image.h"
#include "io/bytes.h"
#include "io/ring.h"
#include "tests/formats/qcow2/open_on.h"
#include "tests/support/crash_file.h"
#include "tests/support/disk_files.h"
#include "tests/support/faulty_file.h"
#include "tests/support/random_ops.h"
#include "tests/support/run_command.h"
#include "tests/support/shared_file.h"
#include "tests/support/temp_dir.h"

namespace platter::qcow2 {
namespace {

using Bytes = std::vector<std::byte>;
using test::CrashFile;
using test::Disk;
using test::Fault;
using test::FaultPlan;

constexpr std::uint64_t kSize = 400 * kKiB;

struct FaultSet {
  const char* name;
  const char* options;
  bool backing = false;
};
void PrintTo(const FaultSet& set, std::ostream* stream) { *stream << set.name; }

/// A request, and what it makes of the guest's bytes.
struct Request {
  const char* name;
  std::function<Task<void>(Image&)> run;
  std::function<void(Bytes&)> model;
};

Task<void> write_bytes(Image& image, std::uint64_t offset, std::uint64_t length) {
  const Bytes data = test::random_bytes(length, offset + length);
  co_await image.write(offset, data);
}
Task<void> write_compressed_bytes(Image& image, std::uint64_t offset, std::uint64_t length) {
  Bytes data(length, std::byte{7});
  test::fill_random(std::span(data).first(length / 4), 5);
  co_await image.write_compressed(offset, data);
}
Task<void> write_and_flush(Image& image) {
  co_await write_bytes(image, 70'000, 100'000);
  co_await image.flush();
}

Request write_request(const char* name, std::uint64_t offset, std::uint64_t length) {
  return {.name = name,
          .run = [=](Image& image) { return write_bytes(image, offset, length); },
          .model =
              [=](Bytes& bytes) {
                std::ranges::copy(test::random_bytes(length, offset + length),
                                  bytes.begin() + static_cast<std::ptrdiff_t>(offset));
              }};
}

std::vector<Request> requests() {
  const auto zero = [](std::uint64_t begin, std::uint64_t end) {
    return [=](Bytes& bytes) {
      std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                bytes.begin() + static_cast<std::ptrdiff_t>(end), std::byte{0});
    };
  };
  std::vector<Request> all;
  all.push_back(write_request("write_in_place", 5'000, 9'000));
  all.push_back(write_request("write_new", 200'001, 90'001));
  all.push_back(
      {.name = "write_zeroes",
       .run = [](Image& image) { return image.write_zeroes(1'000, 150'000, ZeroMode::may_unmap); },
       .model = zero(1'000, 151'000)});
  all.push_back({.name = "discard",
                 .run = [](Image& image) { return image.discard(0, 128 * kKiB); },
                 .model = zero(0, 128 * kKiB)});
  all.push_back({.name = "grow",
                 .run = [](Image& image) { return image.resize(40 * kMiB, {}); },
                 .model = [](Bytes& bytes) { bytes.resize(40 * kMiB); }});
  all.push_back({.name = "shrink",
                 .run = [](Image& image) { return image.resize(64 * kKiB, {}); },
                 .model = [](Bytes& bytes) { bytes.resize(64 * kKiB); }});
  all.push_back(
      {.name = "write_compressed",
       .run = [](Image& image) { return write_compressed_bytes(image, 128 * kKiB, 128 * kKiB); },
       .model =
           [](Bytes& bytes) {
             Bytes data(128 * kKiB, std::byte{7});
             test::fill_random(std::span(data).first(data.size() / 4), 5);
             std::ranges::copy(data, bytes.begin() + 128 * kKiB);
           }});
  Request flush = write_request("write_and_flush", 70'000, 100'000);
  flush.run = [](Image& image) { return write_and_flush(image); };
  all.push_back(std::move(flush));
  return all;
}

class Qcow2Fault : public testing::TestWithParam<FaultSet> {
 protected:
  void SetUp() override {
    if (!test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
    ring_ = Ring::create().value();
    if (GetParam().backing) backing_ = test::random_bytes(kSize / 2, 99);
    std::vector<std::string> create{"qemu-img", "create", "-q", "-f", "qcow2"};
    if (*GetParam().options != '\0') create.insert(create.end(), {"-o", GetParam().options});
    if (GetParam().backing) {
      Disk below;
      below.write(0, backing_);
      test::write_disk(folder_ / "backing", below);
      create.insert(create.end(), {"-b", folder_ / "backing", "-F", "raw"});
    }
    create.insert(create.end(), {path_, std::to_string(kSize)});
    ASSERT_TRUE(test::run_command({.argv = create}).ok());
    start_.assign(kSize, std::byte{0});
    if (GetParam().backing) std::ranges::copy(backing_, start_.begin());
    // Something is there already: data, and a hole.
    file_ = std::make_unique<CrashFile>(test::read_disk(path_));
    const auto image = open();
    ASSERT_TRUE(ring_->run(write_bytes(*image, 3'000, 120'000)));
    std::ranges::copy(test::random_bytes(120'000, 123'000), start_.begin() + 3'000);
    ASSERT_TRUE(ring_->run(image->close()));
    disk_ = file_->live();
  }

  std::unique_ptr<Qcow2Image> open() {
    auto shared = std::make_unique<test::SharedFile>(*file_);
    auto faulty = std::make_unique<test::FaultyFile>(std::move(shared), plan_);
    return ring_->run(open_on(std::move(faulty), nullptr, backing_, /*writable=*/true)).value();
  }

  Task<Bytes> read_all(Image& image) {
    Bytes bytes(image.virtual_size());
    co_await image.read(0, bytes);
    co_return bytes;
  }

  // Sector by sector as before or as after.
  static std::string unexpected(const Bytes& seen, const Bytes& before, const Bytes& after) {
    if (seen.size() != before.size() && seen.size() != after.size()) return "size";
    for (std::size_t i = 0; i < seen.size(); ++i) {
      const std::byte old = i < before.size() ? before[i] : std::byte{0};
      const std::byte made = i < after.size() ? after[i] : std::byte{0};
      if (seen[i] != old && seen[i] != made) return "the byte at " + std::to_string(i);
    }
    return {};
  }

  void judge(const std::string& what) {
    test::write_disk(path_, file_->live());
    const auto repaired = test::run_command("qemu-img", "check", "-q", "-r", "leaks", path_);
    EXPECT_EQ(repaired.exit_code, 0) << what << repaired.out << repaired.err;
    const auto again = test::run_command("qemu-img", "check", "-q", path_);
    EXPECT_EQ(again.exit_code, 0) << what << again.out << again.err;
  }

  // Returns false once `n` is past the request's last operation.
  bool run_with_fault(const Request& request, std::uint64_t n, const Fault& fault) {
    const std::string what = std::string(request.name) + ", operation " + std::to_string(n) + ": ";
    file_ = std::make_unique<CrashFile>(disk_);
    plan_.clear();
    const auto image = open();
    Bytes after = start_;
    request.model(after);
    plan_.clear();
    plan_.at(n, fault);
    const Result<void> done = ring_->run(request.run(*image));
    const bool hit = plan_.faults() > 0;
    plan_.clear();
    if (!hit) EXPECT_TRUE(done) << what;
    if (!done) EXPECT_NE(done.error().message(), "") << what;
    const Result<Bytes> seen = ring_->run(read_all(*image));
    EXPECT_TRUE(seen) << what << seen.error().message();
    if (seen) EXPECT_EQ(unexpected(*seen, start_, after), "") << what;
    // Again: it works, or the image has failed for good and says so each time.
    const Result<void> again = ring_->run(request.run(*image));
    const Result<void> write = ring_->run(write_bytes(*image, 1'000, 500));
    EXPECT_EQ(again.has_value(), write.has_value()) << what;
    if (again) {
      std::ranges::copy(test::random_bytes(500, 1'500), after.begin() + 1'000);
      const Result<Bytes> redone = ring_->run(read_all(*image));
      EXPECT_TRUE(redone && *redone == after) << what;
    }
    const Result<void> closed = ring_->run(image->close());
    if (again) EXPECT_TRUE(closed) << what << closed.error().message();
    judge(what);
    return hit && !HasFailure();
  }

  test::TempDir folder_;
  std::string path_ = folder_ / "image";
  std::unique_ptr<Ring> ring_;
  FaultPlan plan_;
  std::unique_ptr<CrashFile> file_;
  Bytes backing_;
  Bytes start_;  // what the guest sees
  Disk disk_;    // before each request
};

TEST_P(Qcow2Fault, AtAnyOperationLeavesAConsistentImage) {
  for (const Request& request : requests()) {
    const bool v2_backing = std::string(GetParam().options).contains("0.10") && GetParam().backing;
    if (std::string(request.name) == "discard" && v2_backing) continue;
    for (const Fault& fault : {Fault::fails(), Fault::ends_short(ENOSPC), Fault::fails_late()}) {
      for (std::uint64_t n = 0; run_with_fault(request, n, fault); ++n) {
      }
      if (HasFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Options, Qcow2Fault,
                         testing::Values(FaultSet{"default", ""}, FaultSet{"backing", "", true},
                                         FaultSet{"v2", "compat=0.10,cluster_size=16k"},
                                         FaultSet{"rc1", "refcount_bits=1,cluster_size=32k"},
                                         FaultSet{"extl2_backing", "extended_l2=on", true}),
                         [](const auto& set) { return std::string(set.param.name); });

}  // namespace
}  // namespace platter::qcow2
