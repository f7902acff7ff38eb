// Random sequences of requests against what an image should hold, on every kind of file.
#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/raw/raw_image.h"
#include "io/bytes.h"
#include "io/direct_file.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "tests/support/crash_file.h"
#include "tests/support/fake_image.h"
#include "tests/support/faulty_file.h"
#include "tests/support/file_targets.h"
#include "tests/support/random_ops.h"
#include "tests/support/run_command.h"
#include "tests/support/shared_file.h"

namespace platter::test {
namespace {

using Bytes = std::vector<std::byte>;

/// Within the image: only a resize changes its size.
FileStep within(FileStep step, std::uint64_t size) {
  if (step.operation == FileOperation::truncate || step.operation == FileOperation::flush) {
    return step;
  }
  step.offset = std::min(step.offset, size);
  step.length = std::min(step.length, size - step.offset);
  return step;
}

/// An image's size is in whole sectors: what is added reads as zeroes.
void apply(FileModel& model, const FileStep& step) {
  model.apply(step);
  if (step.operation != FileOperation::truncate) return;
  model.apply({.operation = FileOperation::truncate, .offset = align_up(step.offset, 512)});
}

Task<void> perform(Image& image, FileStep step) {
  switch (step.operation) {
    case FileOperation::write: {
      const Bytes data = step.data();
      co_await image.write(step.offset, data);
      break;
    }
    case FileOperation::write_zeroes:
      co_await image.write_zeroes(step.offset, step.length, step.mode);
      break;
    case FileOperation::discard: co_await image.discard(step.offset, step.length); break;
    case FileOperation::truncate: co_await image.resize(step.offset, {}); break;
    case FileOperation::flush: co_await image.flush(); break;
    default: break;
  }
}

Task<void> perform_and_compare(Image& image, FileModel& model, FileStep step) {
  if (step.operation == FileOperation::read) {
    Bytes bytes(step.length);
    co_await image.read(step.offset, bytes);
    EXPECT_EQ(model.difference(step.offset, bytes), "") << to_string(step);
    co_return;
  }
  co_await perform(image, step);
  apply(model, step);
  EXPECT_EQ(image.virtual_size(), model.size()) << to_string(step);
}

/// What map() says must agree with what is read.
Task<void> check_map(Image& image, const FileModel& model) {
  std::uint64_t at = 0;
  while (at < image.virtual_size()) {
    const auto mappings = co_await image.map(at, image.virtual_size() - at, 3);
    for (const Mapping& mapping : mappings) {
      EXPECT_EQ(mapping.offset, at);
      Bytes bytes(mapping.length);
      if (mapping.kind == MappingKind::data) {
        co_await read_exactly(*mapping.file, mapping.file_offset, bytes);
      }
      EXPECT_EQ(model.difference(at, bytes), "");
      at += mapping.length;
    }
  }
  EXPECT_EQ(at, image.virtual_size());
}

using OpenFile = std::function<std::unique_ptr<File>()>;

/// A sequence with a new opening from time to time.
void run_sequence(Ring& ring, const OpenFile& open_file, std::uint64_t seed, StepOptions options,
                  int steps) {
  const auto open = [&] { return ring.run(RawImage::open(open_file(), "image")).value(); };
  RandomSteps random(seed, options);
  FileModel model;
  std::unique_ptr<RawImage> image = open();
  ASSERT_TRUE(ring.run(perform_and_compare(
      *image, model, {.operation = FileOperation::truncate, .offset = options.size_max / 2})));
  for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
    const FileStep step = within(random.next(model.size()), model.size());
    const Result<void> done = ring.run(perform_and_compare(*image, model, step));
    ASSERT_TRUE(done) << to_string(step) << ": " << done.error().message();
    if (i % 25 != 24) continue;
    ASSERT_TRUE(ring.run(check_map(*image, model)));
    ASSERT_TRUE(ring.run(image->close()));
    image = open();
    ASSERT_EQ(model.difference(0, ring.run(guest_bytes(*image)).value()), "") << to_string(step);
  }
  ASSERT_EQ(model.difference(0, ring.run(guest_bytes(*image)).value()), "");
  ASSERT_TRUE(ring.run(image->close()));
}

constexpr std::uint64_t kAlignments[] = {1, 512, 4096};

TEST(RawRandom, AgreesWithAModelInMemory) {
  const std::uint64_t seed = test_seed();
  const std::unique_ptr<Ring> ring = Ring::create().value();
  for (const std::uint64_t alignment : kAlignments) {
    MemoryFile file;
    run_sequence(
        *ring, [&] { return std::make_unique<SharedFile>(file); }, seed, {.alignment = alignment},
        600);
  }
}

class RawRandomOnDisk : public FileSetupTest {};

TEST_P(RawRandomOnDisk, AgreesWithAModel) {
  const std::uint64_t seed = test_seed();
  for (const std::uint64_t alignment : kAlignments) {
    const TargetFile target(GetParam().place);
    run_sequence(*ring, [&] { return open(target); }, seed, {.alignment = alignment}, 120);
  }
}

constexpr Place kPlaces[] = {Place::disk, Place::tmpfs, Place::xfs};
INSTANTIATE_TEST_SUITE_P(Setups, RawRandomOnDisk, testing::ValuesIn(setups_of(kPlaces)),
                         setup_name);

/// The same requests for qemu-io. Data is one byte, repeated.
struct QemuScript {
  std::vector<std::string> argv{"qemu-io", "-f", "raw"};

  void add(const std::string& command) {
    argv.emplace_back("-c");
    argv.push_back(command);
  }
  void add(const FileStep& step) {
    const std::string range = " " + std::to_string(step.offset) + " " + std::to_string(step.length);
    switch (step.operation) {
      case FileOperation::write:
        add("write -q -P " + std::to_string(step.data_seed % 256) + range);
        break;
      case FileOperation::write_zeroes:
        add((step.mode == ZeroMode::may_unmap ? "write -q -z -u" : "write -q -z") + range);
        break;
      case FileOperation::discard: add("discard -q" + range); break;
      case FileOperation::truncate: add("truncate " + std::to_string(step.offset)); break;
      case FileOperation::flush: add("flush"); break;
      default: break;
    }
  }
};

Task<void> perform_pattern(Image& image, FileStep step) {
  if (step.operation == FileOperation::write) {
    const Bytes data(step.length, static_cast<std::byte>(step.data_seed % 256));
    co_await image.write(step.offset, data);
  } else if (step.operation != FileOperation::read) {
    co_await perform(image, step);
  }
}

// qemu-io, too, pads an odd size to a whole sector. Discards are in whole blocks: of smaller ones
// it says itself that they may do nothing.
TEST(RawRandom, LeavesTheFileThatQemuIoLeaves) {
  if (!have_program("qemu-io")) GTEST_SKIP() << "needs qemu-io (Debian: qemu-utils)";
  const std::uint64_t seed = test_seed();
  const std::unique_ptr<Ring> ring = Ring::create().value();
  for (const std::uint64_t alignment : kAlignments) {
    const Bytes start = random_bytes(100'000, seed);
    const TargetFile ours(Place::disk, start);
    const TargetFile theirs(Place::disk, start);
    const auto image =
        ring
            ->run(RawImage::open(
                ring->run(DirectFile::open(ours.path(), {.access = Access::read_write})).value(),
                "ours"))
            .value();
    QemuScript script;
    RandomSteps random(seed, {.alignment = alignment});
    for (int i = 0; i < 150; ++i) {
      const std::uint64_t size = image->virtual_size();
      FileStep step = within(random.next(size), size);
      if (step.operation == FileOperation::discard) {
        step.offset = align_down(step.offset, 4096);
        step.length = align_down(step.length, 4096);
      }
      if (step.length == 0 && step.operation != FileOperation::truncate) continue;
      const Result<void> done = ring->run(perform_pattern(*image, step));
      ASSERT_TRUE(done) << to_string(step) << ": " << done.error().message();
      script.add(step);
    }
    ASSERT_TRUE(ring->run(image->close()));
    script.argv.push_back(theirs.path());
    const CommandResult result = run_command(Command{.argv = script.argv});
    ASSERT_TRUE(result.ok()) << result.out << result.err;
    ASSERT_EQ(result.out.find("failed"), std::string::npos) << result.out;
    Bytes a = ours.contents();
    Bytes b = theirs.contents();
    ASSERT_EQ(align_up(a.size(), 512), align_up(b.size(), 512));
    a.resize(align_up(a.size(), 512));
    b.resize(a.size());
    const auto different = std::mismatch(a.begin(), a.end(), b.begin()).first - a.begin();
    ASSERT_TRUE(a == b) << "at offset " << different;
  }
}

/// One sequence with one fault; every failing step leaves old or new bytes in its range, exact
/// ones elsewhere, and an image that goes on working.
void run_with_fault(Ring& ring, FaultPlan& plan, std::uint64_t seed, std::uint64_t alignment,
                    int steps) {
  auto file = std::make_unique<FaultyFile>(memory_file(random_bytes(20'000, seed)), plan);
  const auto image = ring.run(RawImage::open(std::move(file), "image")).value();
  RandomSteps random(seed, {.size_max = 64 * kKiB, .length_max = 8192, .alignment = alignment});
  FileModel model(random_bytes(20'000, seed));
  model.apply({.operation = FileOperation::truncate, .offset = image->virtual_size()});
  bool flush_failed = false;
  for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
    const FileStep step = within(random.next(model.size()), model.size());
    const std::uint64_t size_before = model.size();
    const Result<void> done = ring.run(perform_and_compare(*image, model, step));
    if (done) continue;
    if (step.operation == FileOperation::flush) {
      flush_failed = true;  // for good
      continue;
    }
    EXPECT_EQ(done.error().os_error(), EIO) << done.error().message();
    EXPECT_EQ(image->virtual_size(), size_before) << to_string(step);
    const Result<Bytes> actual = ring.run(guest_bytes(*image));
    ASSERT_TRUE(actual) << actual.error().message();
    EXPECT_EQ(model.settle(step, *actual), "") << to_string(step);
  }
  EXPECT_EQ(ring.run(image->flush()).has_value(), !flush_failed);
  EXPECT_EQ(model.difference(0, ring.run(guest_bytes(*image)).value()), "");
}

TEST(RawRandom, AFaultInAnyOperationHarmsOnlyItsRange) {
  const std::uint64_t seed = test_seed();
  const std::unique_ptr<Ring> ring = Ring::create().value();
  constexpr int kSteps = 30;
  for (const std::uint64_t alignment : kAlignments) {
    FaultPlan counting;
    run_with_fault(*ring, counting, seed, alignment, kSteps);
    // The last two are the final flush and the reading of everything.
    ASSERT_GT(counting.count(), 2U);
    for (std::uint64_t n = 0; n + 2 < counting.count(); ++n) {
      for (const Fault& fault : {Fault::fails(), Fault::ends_short()}) {
        SCOPED_TRACE("operation " + std::to_string(n) + ", alignment " + std::to_string(alignment));
        FaultPlan plan;
        plan.at(n, fault);
        run_with_fault(*ring, plan, seed, alignment, kSteps);
        EXPECT_EQ(plan.faults(), 1U);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

/// What the image held at the last flush, and after each request since then. A discard makes
/// zeroes here.
class History {
 public:
  explicit History(Bytes start) : versions_{std::move(start)} {}

  void apply(const FileStep& step) {
    FileModel model(versions_.back());
    FileStep done = step;
    if (done.operation == FileOperation::discard) done.operation = FileOperation::write_zeroes;
    test::apply(model, done);
    versions_.push_back(model.bytes());
  }
  void flushed() { versions_.erase(versions_.begin(), versions_.end() - 1); }

  /// Each sector is of one of the versions, and so is the size: where it lies within a sector, it
  /// may cut off any of that sector's versions.
  std::string explain(const Bytes& found, std::uint64_t file_size) const {
    const auto same_size = [&](const Bytes& version) { return version.size() == found.size(); };
    if (std::ranges::none_of(versions_, same_size)) {
      return "a size of " + std::to_string(found.size()) + " that the image never had";
    }
    for (std::size_t at = 0; at < found.size(); at += 512) {
      const auto same_sector = [&](const Bytes& version) {
        for (std::size_t i = at; i < at + 512; ++i) {
          const bool there = i < version.size() && i < file_size;
          if (found[i] != (there ? version[i] : std::byte{0})) return false;
        }
        return true;
      };
      if (std::ranges::none_of(versions_, same_sector)) {
        return "sector at " + std::to_string(at) + " holds what was never written since the flush";
      }
    }
    return {};
  }

 private:
  std::vector<Bytes> versions_;
};

void check_crashes(Ring& ring, const CrashFile& file, const History& history, std::uint64_t seed) {
  std::vector<CrashPlan> plans = file.systematic_plans();
  for (std::uint64_t i = 0; i < 20; ++i) plans.push_back(CrashPlan::random(seed + i));
  for (const CrashPlan& plan : plans) {
    Disk disk = file.crash_state(plan);
    const std::uint64_t size = disk.size();
    const auto image =
        ring.run(RawImage::open(std::make_unique<CrashFile>(std::move(disk)), "image")).value();
    const Bytes found = ring.run(guest_bytes(*image)).value();
    ASSERT_EQ(history.explain(found, size), "") << to_string(plan);
  }
}

TEST(RawRandom, ACrashLosesNothingThatWasFlushed) {
  const std::uint64_t seed = test_seed();
  const std::unique_ptr<Ring> ring = Ring::create().value();
  for (const std::uint64_t alignment : kAlignments) {
    for (std::uint64_t round = 0; round < 8; ++round) {
      SCOPED_TRACE("round " + std::to_string(round) + ", alignment " + std::to_string(alignment));
      CrashFile file;
      const auto image =
          ring->run(RawImage::open(std::make_unique<SharedFile>(file), "image")).value();
      History history((Bytes()));
      RandomSteps random(seed + round,
                         {.size_max = 32 * kKiB, .length_max = 6000, .alignment = alignment});
      for (int i = 0; i < 30; ++i) {
        FileStep step = within(random.next(image->virtual_size()), image->virtual_size());
        if (i == 0) step = {.operation = FileOperation::truncate, .offset = 16 * kKiB};
        if (step.operation == FileOperation::read) continue;
        if (step.operation == FileOperation::flush) {
          check_crashes(*ring, file, history, seed + static_cast<std::uint64_t>(i));
        }
        ASSERT_TRUE(ring->run(perform(*image, step))) << to_string(step);
        if (step.operation == FileOperation::flush) {
          history.flushed();
        } else {
          history.apply(step);
        }
        if (testing::Test::HasFailure()) return;
      }
      check_crashes(*ring, file, history, seed);
      ASSERT_TRUE(ring->run(image->flush()));
      history.flushed();
      EXPECT_EQ(file.crash_points(), 0U);
      check_crashes(*ring, file, history, seed);
      if (testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace platter::test
