// Against real QEMU tools, in both directions.
#include "io/image_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "io/unique_fd.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter {
namespace {

using test::CommandResult;
using test::run_command;
using test::TempDir;
using Bytes = std::set<int>;

constexpr auto kNothing = ImageUse::none;
constexpr auto kRead = ImageUse::consistent_read;
constexpr auto kWrite = ImageUse::write;
constexpr auto kResize = ImageUse::resize;

constexpr ImageLockRequest kReader{kRead, kNothing};
// What QEMU's qcow2 driver takes for an image that it only reads, or also writes.
constexpr ImageLockRequest kQcow2Reader{kRead, kWrite | kResize};
constexpr ImageLockRequest kQcow2Writer{kRead | kWrite | kResize, kWrite | kResize};

UniqueFd open_image(const std::string& path) {
  return UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
}

/// The lock bytes that others hold, as a new opener sees them.
Bytes held_bytes(const std::string& path) {
  const UniqueFd file = open_image(path);
  Bytes held;
  for (int byte = 90; byte < 220; ++byte) {
    struct flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = byte;
    lock.l_len = 1;
    EXPECT_EQ(::fcntl(file.get(), F_OFD_GETLK, &lock), 0);
    if (lock.l_type != F_UNLCK) held.insert(byte);
  }
  return held;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A qemu-io that has an image open for as long as this object lives.
class QemuIo {
 public:
  explicit QemuIo(std::vector<std::string> arguments) {
    std::array<int, 2> in{};
    std::array<int, 2> out{};
    EXPECT_EQ(::pipe2(in.data(), O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out.data(), O_CLOEXEC), 0);
    input_ = UniqueFd(in[1]);
    const UniqueFd child_in(in[0]);
    UniqueFd child_out(out[1]);
    const UniqueFd output(out[0]);
    posix_spawn_file_actions_t actions{};
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, child_in.get(), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, child_out.get(), STDOUT_FILENO);
    arguments.insert(arguments.begin(), "qemu-io");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    EXPECT_EQ(::posix_spawnp(&child_, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    // It asks for commands when it has the image open.
    std::string text;
    std::array<char, 256> piece{};
    child_out = UniqueFd();  // or its end would go unnoticed
    while (!contains(text, "qemu-io>")) {
      const ssize_t count = ::read(output.get(), piece.data(), piece.size());
      if (count <= 0) {
        ADD_FAILURE() << "qemu-io did not open the image: " << text;
        return;
      }
      text.append(piece.data(), static_cast<std::size_t>(count));
    }
  }
  QemuIo(const QemuIo&) = delete;
  QemuIo& operator=(const QemuIo&) = delete;
  ~QemuIo() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

 private:
  pid_t child_ = -1;
  UniqueFd input_;
};

class ImageLocks : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("qemu-img") || !test::have_program("qemu-io")) {
      GTEST_SKIP() << "needs qemu-utils";
    }
    ASSERT_TRUE(run_command("qemu-img", "create", "-q", "-f", "raw", raw(), "1M").ok());
    ASSERT_TRUE(run_command("qemu-img", "create", "-q", "-f", "qcow2", qcow2(), "1M").ok());
  }
  std::string raw() const { return folder_ / "disk.raw"; }
  std::string qcow2() const { return folder_ / "disk.qcow2"; }

 private:
  TempDir folder_;
};

// ---- QEMU has the image open

unsigned bits_from(const Bytes& held, int base) {
  unsigned bits = 0;
  for (int n = 0; n < 4; ++n) bits |= held.contains(base + n) ? 1U << n : 0U;
  return bits;
}

/// Tries every combination of uses against what someone else holds.
void check_all_requests(const std::string& path, const Bytes& theirs) {
  ASSERT_EQ(held_bytes(path), theirs);
  const unsigned their_uses = bits_from(theirs, 100);
  const unsigned their_unshared = bits_from(theirs, 200);
  for (unsigned used = 0; used < 16; ++used) {
    for (unsigned unshared = 0; unshared < 16; ++unshared) {
      const UniqueFd file = open_image(path);
      const ImageLockRequest request{static_cast<ImageUse>(used), static_cast<ImageUse>(unshared)};
      const Result<void> result = acquire_image_lock(file.get(), request, path);
      const bool expected = (used & their_unshared) == 0 && (unshared & their_uses) == 0;
      ASSERT_EQ(result.has_value(), expected) << "used " << used << ", unshared " << unshared;
      Bytes together = theirs;
      if (result) {
        for (int n = 0; n < 4; ++n) {
          if ((used >> n & 1) != 0) together.insert(100 + n);
          if ((unshared >> n & 1) != 0) together.insert(200 + n);
        }
      } else {
        EXPECT_EQ(result.error().kind(), ErrorKind::in_use);
      }
      // After a conflict nothing of ours stays locked.
      ASSERT_EQ(held_bytes(path), together) << "used " << used << ", unshared " << unshared;
    }
    ASSERT_EQ(held_bytes(path), theirs);
  }
}

TEST_F(ImageLocks, ConflictWithAQemuThatWritesARawImageWhereverQemuSaysSo) {
  const QemuIo qemu({"-f", "raw", raw()});
  check_all_requests(raw(), {100, 101});
}

TEST_F(ImageLocks, ConflictWithAQemuThatWritesAQcow2ImageWhereverQemuSaysSo) {
  const QemuIo qemu({"-f", "qcow2", qcow2()});
  check_all_requests(qcow2(), {100, 101, 103, 201, 203});
}

TEST_F(ImageLocks, ConflictWithAQemuThatReadsAQcow2ImageWhereverQemuSaysSo) {
  const QemuIo qemu({"-r", "-f", "qcow2", qcow2()});
  check_all_requests(qcow2(), {100, 201, 203});
}

TEST_F(ImageLocks, IgnoreAQemuThatSharesEverything) {
  const QemuIo qemu({"-U", "-r", "-f", "qcow2", qcow2()});
  const UniqueFd file = open_image(qcow2());
  EXPECT_TRUE(acquire_image_lock(file.get(), {kWrite | kResize, kNothing}, qcow2()));
}

TEST_F(ImageLocks, AConflictIsToldInQemusWords) {
  const QemuIo qemu({"-f", "qcow2", qcow2()});
  const UniqueFd file = open_image(qcow2());
  const Result<void> write = acquire_image_lock(file.get(), {kWrite, kNothing}, "my disk");
  ASSERT_FALSE(write);
  EXPECT_TRUE(contains(write.error().message(), "Failed to get \"write\" lock"));
  EXPECT_TRUE(contains(write.error().message(), "Is another process using the image [my disk]?"));
  const Result<void> shared = acquire_image_lock(file.get(), {kRead, kWrite}, "my disk");
  ASSERT_FALSE(shared);
  EXPECT_TRUE(contains(shared.error().message(), "Failed to get shared \"write\" lock"));
}

TEST_F(ImageLocks, SucceedWhenQemuHasGone) {
  const UniqueFd file = open_image(qcow2());
  {
    const QemuIo qemu({"-f", "qcow2", qcow2()});
    EXPECT_FALSE(acquire_image_lock(file.get(), kQcow2Writer, qcow2()));
  }
  EXPECT_TRUE(acquire_image_lock(file.get(), kQcow2Writer, qcow2()));
}

// ---- We have the image open

TEST_F(ImageLocks, AWriterKeepsQemuOutUnlessItIsForcedToShare) {
  const UniqueFd file = open_image(qcow2());
  ASSERT_TRUE(acquire_image_lock(file.get(), kQcow2Writer, qcow2()));

  const CommandResult info = run_command("qemu-img", "info", qcow2());
  EXPECT_EQ(info.exit_code, 1);
  EXPECT_TRUE(contains(info.err, "Failed to get shared \"write\" lock")) << info.err;
  const CommandResult write = run_command("qemu-io", "-f", "qcow2", "-c", "write 0 4096", qcow2());
  EXPECT_EQ(write.exit_code, 1);
  EXPECT_TRUE(contains(write.err, "lock")) << write.err;
  const CommandResult resize = run_command("qemu-img", "resize", qcow2(), "2M");
  EXPECT_EQ(resize.exit_code, 1);

  EXPECT_TRUE(run_command("qemu-img", "info", "-U", qcow2()).ok());

  release_image_lock(file.get());
  EXPECT_TRUE(run_command("qemu-img", "info", qcow2()).ok());
  EXPECT_TRUE(run_command("qemu-io", "-f", "qcow2", "-c", "write 0 4096", qcow2()).ok());
}

TEST_F(ImageLocks, AReaderLetsQemuReadAndNotWrite) {
  const UniqueFd file = open_image(qcow2());
  ASSERT_TRUE(acquire_image_lock(file.get(), kQcow2Reader, qcow2()));
  EXPECT_TRUE(run_command("qemu-img", "info", qcow2()).ok());
  EXPECT_TRUE(run_command("qemu-io", "-r", "-f", "qcow2", "-c", "read 0 4096", qcow2()).ok());
  const CommandResult write = run_command("qemu-io", "-f", "qcow2", "-c", "write 0 4096", qcow2());
  EXPECT_EQ(write.exit_code, 1);
  EXPECT_TRUE(contains(write.err, "Failed to get \"write\" lock")) << write.err;
}

TEST_F(ImageLocks, ARawWriterKeepsQemusWriterOut) {
  const UniqueFd file = open_image(raw());
  ASSERT_TRUE(acquire_image_lock(file.get(), {kRead | kWrite, kWrite | kResize}, raw()));
  const CommandResult write = run_command("qemu-io", "-f", "raw", "-c", "write 0 4096", raw());
  EXPECT_EQ(write.exit_code, 1);
  EXPECT_TRUE(contains(write.err, "Failed to get \"write\" lock")) << write.err;
  const CommandResult convert =
      run_command("qemu-img", "convert", "-f", "raw", "-O", "raw", raw(), raw() + ".copy");
  EXPECT_EQ(convert.exit_code, 1);
  EXPECT_TRUE(contains(convert.err, "Failed to get shared \"write\" lock")) << convert.err;
  EXPECT_TRUE(
      run_command("qemu-img", "convert", "-U", "-f", "raw", "-O", "raw", raw(), raw() + ".copy")
          .ok());
}

// ---- Among ourselves

TEST_F(ImageLocks, HoldBetweenTwoOpenersInOneProcess) {
  const UniqueFd first = open_image(raw());
  const UniqueFd second = open_image(raw());
  EXPECT_TRUE(acquire_image_lock(first.get(), kQcow2Writer, raw()));
  EXPECT_EQ(acquire_image_lock(second.get(), kQcow2Writer, raw()).error().kind(),
            ErrorKind::in_use);
  EXPECT_FALSE(acquire_image_lock(second.get(), kQcow2Reader, raw()));
  EXPECT_TRUE(acquire_image_lock(second.get(), kReader, raw()));
}

TEST_F(ImageLocks, AnyNumberOfReadersShare) {
  std::vector<UniqueFd> files;
  for (int i = 0; i < 20; ++i) {
    files.push_back(open_image(qcow2()));
    EXPECT_TRUE(acquire_image_lock(files.back().get(), kQcow2Reader, qcow2()));
  }
  EXPECT_EQ(held_bytes(qcow2()), (Bytes{100, 201, 203}));
}

TEST_F(ImageLocks, NeedNoMoreThanReadAccess) {
  const UniqueFd file(::open(qcow2().c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(acquire_image_lock(file.get(), kQcow2Reader, qcow2()));
}

TEST_F(ImageLocks, LastUntilTheLastDescriptorOfTheOpenFileIsClosed) {
  UniqueFd file = open_image(raw());
  UniqueFd duplicate(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
  ASSERT_TRUE(acquire_image_lock(file.get(), kQcow2Writer, raw()));
  file = UniqueFd();
  EXPECT_EQ(held_bytes(raw()), (Bytes{100, 101, 103, 201, 203}));
  duplicate = UniqueFd();
  EXPECT_EQ(held_bytes(raw()), Bytes{});
}

TEST_F(ImageLocks, SurviveTheCloseOfAnotherDescriptorOfTheSameFile) {
  // A POSIX lock would not: any close() in the process drops it.
  const UniqueFd file = open_image(raw());
  ASSERT_TRUE(acquire_image_lock(file.get(), kQcow2Writer, raw()));
  {
    const UniqueFd other = open_image(raw());
  }
  EXPECT_EQ(held_bytes(raw()), (Bytes{100, 101, 103, 201, 203}));
}

TEST_F(ImageLocks, OfTwoWritersThatComeAtOnceNeverBothSucceed) {
  std::atomic<int> inside = 0;
  std::atomic<int> successes = 0;
  auto compete = [&] {
    for (int i = 0; i < 2000; ++i) {
      const UniqueFd file = open_image(raw());
      if (!acquire_image_lock(file.get(), kQcow2Writer, raw())) continue;
      EXPECT_EQ(++inside, 1);
      ++successes;
      --inside;
      release_image_lock(file.get());
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back(compete);
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(successes, 0);
  EXPECT_EQ(held_bytes(raw()), Bytes{});
}

TEST_F(ImageLocks, SomeoneElsesExclusiveLockIsAConflictAndIsRolledBack) {
  const UniqueFd stranger = open_image(raw());
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 103;
  lock.l_len = 1;
  ASSERT_EQ(::fcntl(stranger.get(), F_OFD_SETLK, &lock), 0);
  const UniqueFd file = open_image(raw());
  const Result<void> result = acquire_image_lock(file.get(), kQcow2Writer, raw());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::in_use);
  EXPECT_TRUE(contains(result.error().message(), "Failed to lock byte 103"));
  EXPECT_EQ(held_bytes(raw()), Bytes{103});
}

TEST_F(ImageLocks, OnABadDescriptorAreAnErrorThatNamesTheFile) {
  const UniqueFd write_only(::open(raw().c_str(), O_WRONLY | O_CLOEXEC));
  const Result<void> result = acquire_image_lock(write_only.get(), kQcow2Reader, "a.img");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().os_error(), EBADF);
  EXPECT_EQ(result.error().path(), "a.img");
}

}  // namespace
}  // namespace platter
