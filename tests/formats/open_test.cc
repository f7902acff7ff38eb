#include "formats/open.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "io/ring.h"
#include "io/unique_fd.h"
#include "tests/support/temp_dir.h"

namespace platter::test {
namespace {

using namespace std::string_view_literals;

void write_file(const std::string& path, std::string_view bytes, off_t size = 65536) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_TRUE(fd);
  ASSERT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), 0), std::ssize(bytes));
  ASSERT_EQ(::ftruncate(fd.get(), size), 0);
}

/// True if a descriptor of this process is open on the file.
bool is_open(const std::string& path) {
  const std::string wanted = std::filesystem::canonical(path);
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code ignored;
    if (std::filesystem::read_symlink(entry.path(), ignored) == wanted) return true;
  }
  return false;
}

/// True if anyone's lock on one of QEMU's bytes stands in a writer's way.
bool is_locked(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 100;
  lock.l_len = 104;
  EXPECT_EQ(::fcntl(fd.get(), F_OFD_GETLK, &lock), 0);
  return lock.l_type != F_UNLCK;
}

class OpenImage : public testing::TestWithParam<RingEngineKind> {
 protected:
  void SetUp() override {
    auto made = Ring::create({.engine = GetParam()});
    if (!made) GTEST_SKIP() << made.error().message();
    ring_ = *std::move(made);
    write_file(raw_, "just bytes");
  }
  Result<OpenedImage> open(const std::string& name, OpenOptions options = {},
                           OpenPolicy policy = {}) {
    return ring_->run(open_image(name, std::move(options), std::move(policy)));
  }
  ErrorKind error(const std::string& name, OpenOptions options = {}, OpenPolicy policy = {}) {
    const Result<OpenedImage> opened = open(name, std::move(options), std::move(policy));
    EXPECT_FALSE(opened) << "this should fail";
    return opened ? ErrorKind::io : opened.error().kind();
  }
  void close(OpenedImage& opened) { EXPECT_TRUE(ring_->run(opened.image->close())); }

  std::unique_ptr<Ring> ring_;
  TempDir folder_;
  std::string raw_ = folder_ / "raw.img";
};

INSTANTIATE_TEST_SUITE_P(Engines, OpenImage,
                         testing::Values(RingEngineKind::io_uring, RingEngineKind::threads),
                         [](const auto& info) {
                           return info.param == RingEngineKind::threads ? "Threads" : "IoUring";
                         });

constexpr OpenPurpose kPurposes[] = {OpenPurpose::inspect,     OpenPurpose::read,
                                     OpenPurpose::read_stable, OpenPurpose::write,
                                     OpenPurpose::write_whole, OpenPurpose::resize};

TEST_P(OpenImage, RawIsGuessedWhereNothingElseMatches) {
  Result<OpenedImage> opened = open(raw_);
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_TRUE(opened->format_was_guessed);
  EXPECT_EQ(opened->image->format(), "raw");
  EXPECT_EQ(opened->image->virtual_size(), 65536U);
  EXPECT_EQ(opened->image->filename(), raw_);
  EXPECT_TRUE(opened->image->read_only());
  close(*opened);
}

TEST_P(OpenImage, AnExplicitFormatIsNotAGuess) {
  Result<OpenedImage> opened = open(raw_, {.purpose = OpenPurpose::write, .format = "raw"});
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_FALSE(opened->format_was_guessed);
  EXPECT_FALSE(opened->image->read_only());
  close(*opened);
}

TEST_P(OpenImage, AnotherFormatIsRawOnlyIfSaidSo) {
  const std::string path = folder_ / "other.img";
  write_file(path, "conectix");
  EXPECT_EQ(error(path), ErrorKind::unknown_format);
  Result<OpenedImage> opened = open(path, {.format = "raw"});
  ASSERT_TRUE(opened) << opened.error().message();
  close(*opened);
}

TEST_P(OpenImage, AnUnknownFormatIsRefusedBeforeTheFileIsTouched) {
  EXPECT_EQ(error(raw_, {.format = "nonsense"}), ErrorKind::unknown_format);
  EXPECT_EQ(error(folder_ / "absent", {.format = "nonsense"}), ErrorKind::unknown_format);
}

TEST_P(OpenImage, ThePolicyDecidesWhichFormatsAreOpened) {
  EXPECT_EQ(error(raw_, {.format = "raw"}, {.formats = {"qcow2"}}), ErrorKind::refused_by_policy);
  EXPECT_EQ(error(raw_, {}, {.formats = {"qcow2"}}), ErrorKind::refused_by_policy);
  Result<OpenedImage> opened = open(raw_, {}, {.formats = {"qcow2", "raw"}});
  ASSERT_TRUE(opened);
  close(*opened);
}

TEST_P(OpenImage, ErrorsSayWhatIsWrongWithTheName) {
  EXPECT_EQ(error(folder_ / "absent"), ErrorKind::not_found);
  EXPECT_EQ(error(folder_.path()), ErrorKind::wrong_type);
  const std::string fifo = folder_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0644), 0);
  EXPECT_EQ(error(fifo), ErrorKind::wrong_type);
  EXPECT_EQ(error("/dev/null"), ErrorKind::wrong_type);
  EXPECT_EQ(error(raw_ + "/below"), ErrorKind::wrong_type);
  EXPECT_EQ(error(""), ErrorKind::invalid_argument);
  const std::string loop = folder_ / "loop";
  ASSERT_EQ(::symlink(loop.c_str(), loop.c_str()), 0);
  EXPECT_FALSE(open(loop));
}

TEST_P(OpenImage, NamesOfProtocolsAreNotPaths) {
  EXPECT_EQ(error("nbd:localhost:10809"), ErrorKind::unsupported);
  EXPECT_EQ(error("json:{\"driver\":\"raw\"}"), ErrorKind::unsupported);
  EXPECT_EQ(error("http://example.com/a.img"), ErrorKind::unsupported);
  EXPECT_EQ(error("fat:/tmp"), ErrorKind::unsupported);
}

TEST_P(OpenImage, PathsMayContainColons) {
  const std::string path = folder_ / "a:b.img";
  write_file(path, "bytes");
  for (const std::string& name : {path, "file:" + path}) {
    Result<OpenedImage> opened = open(name);
    ASSERT_TRUE(opened) << opened.error().message();
    EXPECT_EQ(opened->image->filename(), path);
    close(*opened);
  }
}

TEST_P(OpenImage, AnEmptyFileIsAnEmptyImage) {
  const std::string path = folder_ / "empty.img";
  write_file(path, "", 0);
  Result<OpenedImage> opened = open(path);
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ(opened->image->virtual_size(), 0U);
  close(*opened);
}

TEST_P(OpenImage, EachPurposeHasItsAccessAndItsLocks) {
  for (const OpenPurpose purpose : kPurposes) {
    const bool writes = purpose >= OpenPurpose::write;
    Result<OpenedImage> opened = open(raw_, {.purpose = purpose});
    ASSERT_TRUE(opened) << opened.error().message();
    EXPECT_EQ(opened->image->read_only(), !writes);
    EXPECT_EQ(is_locked(raw_), purpose != OpenPurpose::inspect);
    close(*opened);
    EXPECT_FALSE(is_locked(raw_));
    EXPECT_FALSE(is_open(raw_));
  }
}

TEST_P(OpenImage, PurposesExcludeEachOtherAsInQemu) {
  // Which second purposes are refused while the first one is in force.
  const auto refuses = [&](OpenPurpose first, OpenPurpose second) {
    Result<OpenedImage> held = open(raw_, {.purpose = first});
    EXPECT_TRUE(held);
    Result<OpenedImage> tried = open(raw_, {.purpose = second});
    const bool refused = !tried;
    if (refused) {
      EXPECT_EQ(tried.error().kind(), ErrorKind::in_use);
    } else {
      close(*tried);
    }
    close(*held);
    return refused;
  };
  using enum OpenPurpose;
  for (const OpenPurpose other : kPurposes) {
    EXPECT_FALSE(refuses(inspect, other));
    EXPECT_FALSE(refuses(other, inspect));
    EXPECT_FALSE(refuses(read, other));
  }
  EXPECT_FALSE(refuses(read_stable, read));
  EXPECT_FALSE(refuses(read_stable, read_stable));
  for (const OpenPurpose writer : {write, write_whole, resize}) {
    EXPECT_TRUE(refuses(read_stable, writer));
    EXPECT_TRUE(refuses(writer, read_stable));
    EXPECT_TRUE(refuses(write_whole, writer));
    EXPECT_TRUE(refuses(writer, write_whole));
  }
  EXPECT_FALSE(refuses(write, write));
}

TEST_P(OpenImage, ForceShareTakesNoLockAndHeedsNone) {
  Result<OpenedImage> writer = open(raw_, {.purpose = OpenPurpose::write_whole});
  ASSERT_TRUE(writer);
  Result<OpenedImage> reader =
      open(raw_, {.purpose = OpenPurpose::read_stable, .force_share = true});
  ASSERT_TRUE(reader) << reader.error().message();
  close(*writer);
  EXPECT_FALSE(is_locked(raw_));
  close(*reader);
}

TEST_P(OpenImage, ARefusedImageStaysNeitherOpenNorLocked) {
  const std::string path = folder_ / "other.img";
  write_file(path, "conectix");
  for (const OpenPurpose purpose : kPurposes) {
    EXPECT_EQ(error(path, {.purpose = purpose}), ErrorKind::unknown_format);
    EXPECT_FALSE(is_locked(path));
    EXPECT_FALSE(is_open(path));
    EXPECT_EQ(error(raw_, {.purpose = purpose}, {.formats = {"none"}}),
              ErrorKind::refused_by_policy);
    EXPECT_FALSE(is_locked(raw_));
    EXPECT_FALSE(is_open(raw_));
  }
}

TEST_P(OpenImage, AConflictLeavesTheLoserNeitherOpenNorLocked) {
  Result<OpenedImage> writer = open(raw_, {.purpose = OpenPurpose::write});
  ASSERT_TRUE(writer);
  EXPECT_EQ(error(raw_, {.purpose = OpenPurpose::read_stable}), ErrorKind::in_use);
  close(*writer);
  EXPECT_FALSE(is_locked(raw_));
  EXPECT_FALSE(is_open(raw_));
}

// The kernel's table of registered files must not keep them.
TEST_P(OpenImage, DestructionWithoutCloseReleasesTheLocks) {
  for (const OpenPurpose purpose : kPurposes) {
    Result<OpenedImage> opened = open(raw_, {.purpose = purpose});
    ASSERT_TRUE(opened);
    std::vector<std::byte> some(4096);
    ASSERT_TRUE(ring_->run(opened->image->read(0, some)));
    opened->image.reset();
    EXPECT_FALSE(is_open(raw_));
    EXPECT_FALSE(is_locked(raw_));
  }
}

TEST_P(OpenImage, AGuestThatWritesAnotherSignatureIsNotFollowed) {
  Result<OpenedImage> opened = open(raw_, {.purpose = OpenPurpose::write});
  ASSERT_TRUE(opened);
  EXPECT_TRUE(opened->format_was_guessed);
  std::vector<std::byte> head(512);
  std::ranges::copy(std::as_bytes(std::span("QFI\xfb\0\0\0\4"sv)), head.begin());
  ASSERT_TRUE(ring_->run(opened->image->write(0, head)));
  close(*opened);
  EXPECT_FALSE(open(raw_)) << "it looks like another format now";
}

}  // namespace
}  // namespace platter::test
