// Random sequences of operations on a DirectFile agree with a model, wherever it lives.
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/direct_file.h"
#include "tests/support/file_targets.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

class DirectFileRandomTest : public FileSetupTest {
 protected:
  void run_sequence(std::uint64_t seed, std::uint64_t alignment, int count) {
    const bool device = is_block_device(GetParam().place);
    const TargetFile target(GetParam().place, random_bytes(device ? 256 * kKiB : 100'003, seed));
    const auto file = open(target);
    FileModel model(target.contents());
    if (!device && alignment > 1) {
      get(file->truncate(align_down(model.size(), alignment)));
      model = FileModel(get(read_all(*file)));
    }
    RandomSteps steps(seed, {.alignment = alignment, .fixed_size = device});
    for (int n = 0; n < count && !HasFailure(); ++n) {
      const FileStep step = steps.next(model.size());
      SCOPED_TRACE("step " + std::to_string(n) + ": " + to_string(step));
      get(perform(*file, model, step));
      ASSERT_EQ(get(file->size()), model.size());
      if (n % 16 == 0) ASSERT_EQ(model.difference(0, get(read_all(*file))), "");
    }
    EXPECT_EQ(model.difference(0, get(read_all(*file))), "");
    get(file->flush());
    get(file->close());
    EXPECT_EQ(model.difference(0, target.contents()), "");
  }
};

INSTANTIATE_TEST_SUITE_P(On, DirectFileRandomTest, testing::ValuesIn(all_setups()), setup_name);

TEST_P(DirectFileRandomTest, AtOddSizesAndOffsets) { run_sequence(test_seed(), 1, 80); }
TEST_P(DirectFileRandomTest, InSectors) { run_sequence(test_seed(), 512, 40); }
TEST_P(DirectFileRandomTest, InPages) { run_sequence(test_seed(), 4096, 30); }

}  // namespace
}  // namespace platter::test
