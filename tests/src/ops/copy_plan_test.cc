#include "src/ops/copy_plan.h"

#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/memory_file.h"
#include "tests/support/random_ops.h"

namespace platter {

void PrintTo(const CopyStep& step, std::ostream* out) {
  constexpr const char* kNames[] = {"copy", "zero", "skip"};
  *out << kNames[static_cast<int>(step.action)] << " " << step.offset << "+" << step.length;
  if (step.file != nullptr) *out << " from " << step.file->name() << "@" << step.file_offset;
}

namespace {

using enum MappingKind;
constexpr CopyAction kCopy = CopyAction::copy;
constexpr CopyAction kZero = CopyAction::zero;
constexpr CopyAction kSkip = CopyAction::skip;

MemoryFile g_a("a");
MemoryFile g_b("b");

/// A run of the source; its offset is where the one before ended.
struct Piece {
  std::uint64_t length;
  MappingKind kind;
  File* file = nullptr;
  std::uint64_t file_offset = 0;
};

std::vector<Mapping> mappings_of(const std::vector<Piece>& runs) {
  std::vector<Mapping> mappings;
  std::uint64_t at = 0;
  for (const Piece& run : runs) {
    mappings.push_back({.offset = at,
                        .length = run.length,
                        .kind = run.kind,
                        .file = run.file,
                        .file_offset = run.file_offset});
    at += run.length;
  }
  return mappings;
}

std::uint64_t end_of(const Mapping& mapping) { return mapping.offset + mapping.length; }
std::uint64_t end_of(const CopyStep& step) { return step.offset + step.length; }

/// Takes steps as soon as there are any, as the engine does.
std::vector<CopyStep> steps_of(const std::vector<Mapping>& mappings, CopyPlanOptions options) {
  options.image_size = mappings.empty() ? 0 : end_of(mappings.back());
  CopyPlanner planner(options);
  std::vector<CopyStep> steps;
  const auto take = [&] {
    while (const auto step = planner.next()) steps.push_back(*step);
  };
  for (const Mapping& mapping : mappings) {
    planner.add(mapping);
    take();
  }
  planner.finish();
  take();
  return steps;
}
std::vector<CopyStep> plan(const std::vector<Piece>& runs, const CopyPlanOptions& options = {}) {
  return steps_of(mappings_of(runs), options);
}

CopyStep step(CopyAction action, std::uint64_t offset, std::uint64_t length, File* file = nullptr,
              std::uint64_t file_offset = 0) {
  return {action, offset, length, file, file_offset};
}
using Steps = std::vector<CopyStep>;

TEST(CopyPlanner, AnEmptyImageNeedsNothing) { EXPECT_EQ(plan({}), Steps{}); }

TEST(CopyPlanner, OneRunOfDataIsCopiedFromItsPlace) {
  EXPECT_EQ(plan({{8192, data, &g_a, 4096}}), (Steps{step(kCopy, 0, 8192, &g_a, 4096)}));
}

TEST(CopyPlanner, DataIsCutAtMultiplesOfTheChunk) {
  EXPECT_EQ(plan({{512 * kKiB, zero}, {2 * kMiB, data, &g_a, 4096}}),
            (Steps{step(kZero, 0, 512 * kKiB), step(kCopy, 512 * kKiB, 512 * kKiB, &g_a, 4096),
                   step(kCopy, kMiB, kMiB, &g_a, 4096 + 512 * kKiB),
                   step(kCopy, 2 * kMiB, 512 * kKiB, &g_a, 4096 + 1536 * kKiB)}));
}

TEST(CopyPlanner, ZeroesAreSkippedWhereTheTargetIsZero) {
  EXPECT_EQ(plan({{kMiB, zero}}, {.target_is_zero = true}), (Steps{step(kSkip, 0, kMiB)}));
  EXPECT_EQ(plan({{kMiB, unallocated}}), (Steps{step(kZero, 0, kMiB)}));
}

TEST(CopyPlanner, ZeroesAreCutIntoPiecesWhereTheyMeanWork) {
  EXPECT_EQ(plan({{5 * kMiB, zero}}, {.zero_chunk = 2 * kMiB, .target_is_zero = true}),
            (Steps{step(kSkip, 0, 5 * kMiB)}));
  EXPECT_EQ(plan({{5 * kMiB, zero}}, {.zero_chunk = 2 * kMiB}),
            (Steps{step(kZero, 0, 2 * kMiB), step(kZero, 2 * kMiB, 2 * kMiB),
                   step(kZero, 4 * kMiB, kMiB)}));
}

TEST(CopyPlanner, ZeroAndUnallocatedRunsAreOneRun) {
  EXPECT_EQ(plan({{kMiB, zero}, {kMiB, unallocated}, {kMiB, zero}}),
            (Steps{step(kZero, 0, 3 * kMiB)}));
}

TEST(CopyPlanner, EverythingIsCopiedWhereZeroesAreWanted) {
  EXPECT_EQ(plan({{kMiB, zero}, {kMiB, data, &g_a}}, {.copy_zeroes = true}),
            (Steps{step(kCopy, 0, kMiB), step(kCopy, kMiB, kMiB, &g_a)}));
}

TEST(CopyPlanner, CompressedDataIsReadThroughTheImage) {
  EXPECT_EQ(plan({{64 * kKiB, compressed, &g_a, 512}}), (Steps{step(kCopy, 0, 64 * kKiB)}));
}

TEST(CopyPlanner, RunsThatFollowEachOtherInOneFileAreOneRun) {
  EXPECT_EQ(plan({{64 * kKiB, data, &g_a, 0}, {64 * kKiB, data, &g_a, 64 * kKiB}}),
            (Steps{step(kCopy, 0, 128 * kKiB, &g_a, 0)}));
}

TEST(CopyPlanner, RunsInDifferentPlacesAreCopiedByThemselves) {
  EXPECT_EQ(
      plan({{64 * kKiB, data, &g_a, 0},
            {64 * kKiB, data, &g_b, 64 * kKiB},
            {64 * kKiB, data, &g_b, 0}}),
      (Steps{step(kCopy, 0, 64 * kKiB, &g_a, 0), step(kCopy, 64 * kKiB, 64 * kKiB, &g_b, 64 * kKiB),
             step(kCopy, 128 * kKiB, 64 * kKiB, &g_b, 0)}));
}

TEST(CopyPlanner, SmallGapsAreReadThrough) {
  EXPECT_EQ(plan({{64 * kKiB, data, &g_a, 0}, {8 * kKiB, zero}, {8 * kKiB, data, &g_a, 72 * kKiB}}),
            (Steps{step(kCopy, 0, 80 * kKiB)}));
}

TEST(CopyPlanner, GapsOfTheGivenSizeAreNot) {
  EXPECT_EQ(
      plan({{64 * kKiB, data, &g_a, 0}, {16 * kKiB, zero}, {8 * kKiB, data, &g_a, 80 * kKiB}}),
      (Steps{step(kCopy, 0, 64 * kKiB, &g_a, 0), step(kZero, 64 * kKiB, 16 * kKiB),
             step(kCopy, 80 * kKiB, 8 * kKiB, &g_a, 80 * kKiB)}));
}

TEST(CopyPlanner, DataIsWidenedToWholeBlocks) {
  EXPECT_EQ(plan({{100 * kKiB + 100, zero}, {10, data, &g_a, 0}, {100 * kKiB + 402, zero}},
                 {.alignment = 4096}),
            (Steps{step(kZero, 0, 100 * kKiB), step(kCopy, 100 * kKiB, 4096),
                   step(kZero, 104 * kKiB, 96 * kKiB + 512)}));
}

TEST(CopyPlanner, WideningStopsAtTheEndOfTheImage) {
  EXPECT_EQ(plan({{4096, data, &g_a, 0}, {1000, data, &g_b, 0}, {24, zero}}, {.alignment = 4096}),
            (Steps{step(kCopy, 0, 4096, &g_a, 0), step(kCopy, 4096, 1024)}));
}

TEST(CopyPlanner, RunsWithinOneBlockAreCopiedOnce) {
  EXPECT_EQ(plan({{512, data, &g_a, 0},
                  {512, zero},
                  {512, data, &g_b, 0},
                  {512, unallocated},
                  {512, data, &g_a, 9 * kKiB},
                  {1536, zero},
                  {4096, data, &g_a, 0}},
                 {.alignment = 4096}),
            (Steps{step(kCopy, 0, 4096), step(kCopy, 4096, 4096, &g_a, 0)}));
}

TEST(CopyPlanner, ABlockSharedByTwoRunsBelongsToTheFirst) {
  EXPECT_EQ(plan({{5000, data, &g_a, 0}, {7288, data, &g_b, 0}}, {.alignment = 4096}),
            (Steps{step(kCopy, 0, 8192), step(kCopy, 8192, 4096)}));
}

TEST(CopyPlanner, CopiesUpToTheLargestSizeWithoutOverflow) {
  const std::uint64_t size = align_down(kMaxFileSize, 512);
  EXPECT_EQ(plan({{size - 512, zero}, {512, data, &g_a, size - 512}},
                 {.alignment = 4096, .zero_chunk = std::uint64_t{1} << 62}),
            (Steps{step(kZero, 0, std::uint64_t{1} << 62),
                   step(kZero, std::uint64_t{1} << 62, (std::uint64_t{1} << 62) - 4096),
                   step(kCopy, (std::uint64_t{1} << 63) - 4096, 3584)}));
}

TEST(CopyPlanner, WholeChunksAreDecidedAtOnce) {
  CopyPlanner planner({.image_size = 64 * kMiB});
  planner.add({.offset = 0, .length = 8 * kMiB, .kind = data, .file = &g_a});
  int steps = 0;
  while (planner.next()) ++steps;
  EXPECT_GE(steps, 7);
}

TEST(CopyPlanner, DataIsDecidedOnceALargeGapFollows) {
  CopyPlanner planner({.image_size = 64 * kMiB});
  planner.add({.offset = 0, .length = 4096, .kind = data, .file = &g_a});
  EXPECT_FALSE(planner.next());
  planner.add({.offset = 4096, .length = kMiB, .kind = zero});
  EXPECT_EQ(planner.next(), step(kCopy, 0, 4096, &g_a));
}

/// Random mappings, replayed with PLATTER_SEED.
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  CopyPlanOptions options() {
    CopyPlanOptions options;
    options.alignment = std::uint64_t{512} << below(8);
    options.chunk = options.alignment << below(6);
    options.gap_max = pick({0, 4096, 16 * kKiB, 100'000});
    options.zero_chunk = options.alignment * (1 + below(200));
    options.target_is_zero = below(2) != 0;
    options.copy_zeroes = below(8) == 0;
    return options;
  }

  std::vector<Piece> runs(const CopyPlanOptions& options) {
    std::vector<Piece> runs;
    std::uint64_t total = 0;
    const std::uint64_t granularity = pick({1, 512, options.alignment});
    for (std::uint64_t left = 1 + below(40); left > 0; --left) {
      runs.push_back(run(granularity, runs.empty() ? nullptr : &runs.back()));
      total += runs.back().length;
    }
    if (const std::uint64_t rest = align_up(total, 512) - total; rest > 0) {
      runs.push_back({rest, zero});
    }
    return runs;
  }

  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

 private:
  std::uint64_t pick(std::vector<std::uint64_t> choices) { return choices[below(choices.size())]; }

  Piece run(std::uint64_t granularity, const Piece* before) {
    Piece made{.length = granularity * (1 + below(std::uint64_t{1} << below(12))),
               .kind = static_cast<MappingKind>(below(4))};
    if (made.kind != data && made.kind != compressed) return made;
    made.file = below(2) != 0 ? &g_a : &g_b;
    made.file_offset = granularity * below(1 << 20);
    if (before != nullptr && before->kind == data && below(2) != 0) {
      made.file = before->file;
      made.file_offset = before->file_offset + before->length;
    }
    return made;
  }

  std::mt19937_64 random_;
};

bool reads_as_zeroes(const Mapping& mapping) {
  return mapping.kind == zero || mapping.kind == unallocated;
}

/// One plan and what must hold for it.
struct Check {
  const std::vector<Mapping>& mappings;
  const CopyPlanOptions& options;
  const std::vector<CopyStep>& steps;

  std::uint64_t size() const { return end_of(mappings.back()); }

  void covers_every_byte_once_in_order() const {
    std::uint64_t at = 0;
    for (const CopyStep& s : steps) {
      ASSERT_EQ(s.offset, at);
      ASSERT_GT(s.length, 0U);
      at = end_of(s);
    }
    ASSERT_EQ(at, size());
  }

  void has_steps_of_the_right_form() const {
    for (const CopyStep& s : steps) {
      ASSERT_TRUE(is_aligned(end_of(s), options.alignment) || end_of(s) == size())
          << testing::PrintToString(s);
      if (s.action == kCopy) {
        ASSERT_EQ(s.offset / options.chunk, (end_of(s) - 1) / options.chunk)
            << testing::PrintToString(s);
      } else {
        ASSERT_EQ(s.action, options.target_is_zero ? kSkip : kZero);
        ASSERT_FALSE(options.copy_zeroes);
        ASSERT_TRUE(options.target_is_zero || s.length <= options.zero_chunk);
        ASSERT_EQ(s.file, nullptr);
      }
    }
  }

  /// Calls `look` for each step and mapping that have bytes in common.
  template <class Look>
  void for_each_overlap(Look look) const {
    std::size_t next = 0;
    for (const CopyStep& s : steps) {
      while (end_of(mappings[next]) <= s.offset) ++next;
      for (std::size_t i = next; i < mappings.size() && mappings[i].offset < end_of(s); ++i) {
        look(s, mappings[i]);
      }
    }
  }

  void copies_all_data_from_where_it_is() const {
    for_each_overlap([](const CopyStep& s, const Mapping& mapping) {
      if (!reads_as_zeroes(mapping)) {
        ASSERT_EQ(s.action, kCopy) << testing::PrintToString(s);
      }
      if (s.file == nullptr) return;
      ASSERT_EQ(mapping.kind, data);
      ASSERT_EQ(mapping.file, s.file);
      ASSERT_EQ(mapping.file_offset - mapping.offset, s.file_offset - s.offset)
          << testing::PrintToString(s);
    });
  }

  void leaves_long_zero_runs_out() const {
    if (options.copy_zeroes) return;
    std::uint64_t begin = 0;
    for (std::size_t i = 0; i < mappings.size(); ++i) {
      if (!reads_as_zeroes(mappings[i])) continue;
      if (i == 0 || !reads_as_zeroes(mappings[i - 1])) begin = mappings[i].offset;
      const bool last = i + 1 == mappings.size();
      if (!last && reads_as_zeroes(mappings[i + 1])) continue;
      const std::uint64_t end = end_of(mappings[i]);
      if (end - begin < options.gap_max + 2 * options.alignment) continue;
      const std::uint64_t inner_begin = align_up(begin, options.alignment);
      const std::uint64_t inner_end = last ? end : align_down(end, options.alignment);
      for (const CopyStep& s : steps) {
        const bool inside = s.offset < inner_end && inner_begin < end_of(s);
        ASSERT_FALSE(inside && s.action == kCopy)
            << testing::PrintToString(s) << " within zeroes " << begin << " to " << end;
      }
    }
  }

  /// Copies little more than what is data.
  void is_thrifty() const {
    if (options.copy_zeroes) return;
    std::uint64_t allowed = 0;
    for (const Mapping& mapping : mappings) {
      if (!reads_as_zeroes(mapping)) {
        allowed += mapping.length + 2 * options.alignment + options.gap_max;
      }
    }
    std::uint64_t copied = 0;
    for (const CopyStep& s : steps) copied += s.action == kCopy ? s.length : 0;
    ASSERT_LE(copied, allowed);
  }
};

TEST(CopyPlanner, KeepsItsPromisesForRandomMappings) {
  const std::uint64_t seed = test::test_seed();
  for (std::uint64_t round = 0; round < 1500; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    Generator generator(seed + round);
    const CopyPlanOptions options = generator.options();
    const std::vector<Mapping> mappings = mappings_of(generator.runs(options));
    const std::vector<CopyStep> steps = steps_of(mappings, options);
    const Check check{mappings, options, steps};
    check.covers_every_byte_once_in_order();
    check.has_steps_of_the_right_form();
    check.copies_all_data_from_where_it_is();
    check.leaves_long_zero_runs_out();
    check.is_thrifty();
    if (HasFatalFailure()) return;
  }
}

// The same, at the far end of what can be addressed.
TEST(CopyPlanner, KeepsItsPromisesNearTheLargestSize) {
  const std::uint64_t seed = test::test_seed();
  for (std::uint64_t round = 0; round < 300; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    Generator generator(seed + round);
    CopyPlanOptions options = generator.options();
    options.zero_chunk = std::uint64_t{1} << 62;
    options.copy_zeroes = false;
    std::vector<Piece> runs = generator.runs(options);
    std::uint64_t total = 0;
    for (const Piece& run : runs) total += run.length;
    runs.insert(runs.begin(), {align_down(kMaxFileSize, 512) - total, zero});
    const std::vector<Mapping> mappings = mappings_of(runs);
    const std::vector<CopyStep> steps = steps_of(mappings, options);
    const Check check{mappings, options, steps};
    check.covers_every_byte_once_in_order();
    check.has_steps_of_the_right_form();
    check.copies_all_data_from_where_it_is();
    check.leaves_long_zero_runs_out();
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace platter
