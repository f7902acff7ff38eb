#include "io/device_limits.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <string>

#include "io/unique_fd.h"

namespace platter {
namespace {

constexpr std::uint32_t kSector = 512;

std::string queue_folder(dev_t device) {
  const std::string node =
      "/sys/dev/block/" + std::to_string(major(device)) + ':' + std::to_string(minor(device));
  // A partition has no queue of its own.
  return ::access((node + "/queue").c_str(), F_OK) == 0 ? node + "/queue/" : node + "/../queue/";
}

// A number above 0. An attribute that is missing, or not a number of 32 bits, says nothing.
Result<std::optional<std::uint32_t>> read_attribute(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return std::nullopt;
    return fail_errno(errno, "open", path);
  }
  std::array<char, 32> text{};
  const ssize_t count = ::read(fd.get(), text.data(), text.size());
  if (count < 0) return fail_errno(errno, "read", path);
  std::uint32_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + count, value);
  if (parsed.ec != std::errc() || value == 0) return std::nullopt;
  return value;
}

}  // namespace

Result<DeviceLimits> read_device_limits(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail_errno(errno, "stat");
  DeviceLimits limits;
  if (!S_ISBLK(status.st_mode)) return limits;
  unsigned short sectors = 0;  // NOLINT(google-runtime-int): the kernel's type
  if (::ioctl(fd, BLKSECTGET, &sectors) == 0 && sectors > 0)
    limits.transfer_max = sectors * kSector;
  const std::string queue = queue_folder(status.st_rdev);
  auto segments = read_attribute(queue + "max_segments");
  if (!segments) return fail(std::move(segments.error()));
  auto granularity = read_attribute(queue + "discard_granularity");
  if (!granularity) return fail(std::move(granularity.error()));
  limits.segments_max = *segments;
  limits.discard_granularity = *granularity;
  return limits;
}

}  // namespace platter
