#include "io/device_limits.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>

#include <gtest/gtest.h>

#include "io/unique_fd.h"
#include "tests/support/loop_device.h"

namespace platter::test {
namespace {

std::uint32_t attribute(const std::string& device, const std::string& name) {
  std::ifstream file("/sys/block/" + device.substr(5) + "/queue/" + name);
  std::uint32_t value = 0;
  EXPECT_TRUE(file >> value) << name;
  return value;
}

TEST(DeviceLimitsOf, AFileAreNone) {
  const TempDir folder;
  const UniqueFd fd(::open((folder / "a").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const Result<DeviceLimits> limits = read_device_limits(fd.get());
  ASSERT_TRUE(limits) << limits.error().message();
  EXPECT_FALSE(limits->transfer_max);
  EXPECT_FALSE(limits->segments_max);
  EXPECT_FALSE(limits->discard_granularity);
}

TEST(DeviceLimitsOf, ADeviceAreItsQueues) {
  if (auto why = no_loop_devices()) GTEST_SKIP() << *why;
  const TempDir folder;
  {
    const UniqueFd fd(::open((folder / "a").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(::ftruncate(fd.get(), 1 << 20), 0);
  }
  const LoopDevice device(folder / "a");
  const UniqueFd fd(::open(device.path().c_str(), O_RDONLY | O_CLOEXEC));
  const Result<DeviceLimits> limits = read_device_limits(fd.get());
  ASSERT_TRUE(limits) << limits.error().message();
  EXPECT_EQ(limits->transfer_max, attribute(device.path(), "max_sectors_kb") * 1024);
  EXPECT_EQ(limits->segments_max, attribute(device.path(), "max_segments"));
  EXPECT_EQ(limits->discard_granularity.value_or(0),
            attribute(device.path(), "discard_granularity"));
}

TEST(DeviceLimitsOf, AClosedDescriptorAreAnError) {
  const Result<DeviceLimits> limits = read_device_limits(-1);
  ASSERT_FALSE(limits);
  EXPECT_EQ(limits.error().os_error(), EBADF);
}

}  // namespace
}  // namespace platter::test
