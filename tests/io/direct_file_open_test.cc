// What can be opened, and what is said about the rest.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "io/direct_file.h"
#include "tests/support/file_targets.h"
#include "tests/support/in_child.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

class DirectFileOpenTest : public FileSetupTest {
 protected:
  Error open_error(const std::string& path, Access access = Access::read_write) {
    return error(DirectFile::open(path, {.access = access, .cache = GetParam().cache}));
  }
  void expect_refused(const std::string& path, ErrorKind kind, const std::string& message) {
    for (const Access access : {Access::read_only, Access::read_write}) {
      const Error refused = open_error(path, access);
      EXPECT_EQ(to_string(refused.kind()), to_string(kind));
      EXPECT_EQ(refused.message(), message);
    }
  }
  /// For what is not a file: the words are qemu-img's, so only the essence is looked at.
  void expect_wrong_type(const std::string& path, const std::string& what) {
    for (const Access access : {Access::read_only, Access::read_write}) {
      const Error refused = open_error(path, access);
      EXPECT_EQ(to_string(refused.kind()), to_string(ErrorKind::wrong_type));
      EXPECT_NE(refused.message().find("'" + path + "'"), std::string::npos) << refused.message();
      EXPECT_NE(refused.message().find(what), std::string::npos) << refused.message();
      EXPECT_EQ(refused.message().find('\n'), std::string::npos) << refused.message();
    }
  }
  std::string make_file(const std::string& name, mode_t mode = 0644) {
    std::string path = folder / name;
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    EXPECT_TRUE(fd);
    EXPECT_EQ(::ftruncate(fd.get(), 8192), 0);
    return path;
  }

  TempDir folder;
};

constexpr Place kDisk[] = {Place::disk};
INSTANTIATE_TEST_SUITE_P(On, DirectFileOpenTest, testing::ValuesIn(setups_of(kDisk)), setup_name);

TEST_P(DirectFileOpenTest, AFileThatDoesNotExistIsNotFound) {
  const std::string path = folder / "none";
  expect_refused(path, ErrorKind::not_found,
                 "Could not open '" + path + "': No such file or directory");
  const std::string below = folder / "none/file";
  expect_refused(below, ErrorKind::not_found,
                 "Could not open '" + below + "': No such file or directory");
  expect_refused("", ErrorKind::not_found, "Could not open: No such file or directory");
}

TEST_P(DirectFileOpenTest, AFolderIsTheWrongType) {
  expect_wrong_type(folder.path(), "regular file");
}

TEST_P(DirectFileOpenTest, AFileIsNotAFolder) {
  const std::string path = make_file("file") + "/more";
  expect_refused(path, ErrorKind::wrong_type, "Could not open '" + path + "': Not a directory");
}

TEST_P(DirectFileOpenTest, AFifoIsRefusedWithoutWaiting) {
  const std::string path = folder / "fifo";
  ASSERT_EQ(::mkfifo(path.c_str(), 0666), 0);
  expect_wrong_type(path, "FIFO");
}

TEST_P(DirectFileOpenTest, ASocketIsTheWrongType) {
  const std::string path = folder / "socket";
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof address.sun_path);
  std::memcpy(address.sun_path, path.c_str(), path.size());
  ASSERT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  expect_wrong_type(path, "socket");
}

TEST_P(DirectFileOpenTest, ACharacterDeviceIsTheWrongType) {
  expect_wrong_type("/dev/null", "character device");
}

TEST_P(DirectFileOpenTest, ALinkIsFollowedUnlessItLeadsNowhere) {
  const std::string link = folder / "link";
  ASSERT_EQ(::symlink("file", link.c_str()), 0);
  expect_refused(link, ErrorKind::not_found,
                 "Could not open '" + link + "': No such file or directory");
  const std::string file = make_file("file");
  const auto by_link = open(link);
  const auto by_name = open(file);
  EXPECT_EQ(by_link->id(), by_name->id());
  EXPECT_EQ(by_link->name(), link);
  get(by_link->close());
  get(by_name->close());
  const std::string loop = folder / "loop";
  ASSERT_EQ(::symlink("loop", loop.c_str()), 0);
  expect_refused(loop, ErrorKind::wrong_type,
                 "Could not open '" + loop + "': Too many levels of symbolic links");
}

TEST_P(DirectFileOpenTest, ANameThatIsTooLongIsInvalid) {
  const std::string path = folder / std::string(300, 'x');
  expect_refused(path, ErrorKind::invalid_argument,
                 "Could not open '" + path + "': File name too long");
}

TEST_P(DirectFileOpenTest, AFileMayBeUnlinkedWhileItIsOpen) {
  const std::string path = make_file("file");
  const auto file = open(path);
  ASSERT_EQ(::unlink(path.c_str()), 0);
  const std::vector<std::byte> data = random_bytes(100, 1);
  get(file->write(8150, data));  // its tail is reopened by descriptor, not by name
  EXPECT_EQ(get(file->size()), 8250U);
  get(file->close());
}

TEST_P(DirectFileOpenTest, AnUnprivilegedUserNeedsPermission) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  ring.reset();
  const std::string secret = make_file("secret", 0600);
  const std::string readable = make_file("readable", 0644);
  const bool passed = in_child([&] {
    become_nobody();
    if (::access(folder.path().c_str(), X_OK) != 0) return;  // $TMPDIR is root's alone
    ring = Ring::create({.engine = GetParam().engine, .threads = 2}).value();
    expect_refused(secret, ErrorKind::permission,
                   "Could not open '" + secret + "': Permission denied");
    const Error refused = open_error(readable, Access::read_write);
    EXPECT_EQ(to_string(refused.kind()), to_string(ErrorKind::permission));
    get(open(readable, Access::read_only)->close());
    ring.reset();
  });
  EXPECT_TRUE(passed);
}

TEST_P(DirectFileOpenTest, AReadOnlyFilesystemOpensForReadingOnly) {
  if (const auto why = missing(Place::tmpfs)) GTEST_SKIP() << *why;
  MountedFilesystem filesystem(FilesystemKind::tmpfs);
  const std::string path = filesystem / "file";
  {
    const UniqueFd made(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  }
  filesystem.remount("ro");
  const Error refused = open_error(path);
  EXPECT_EQ(to_string(refused.kind()), to_string(ErrorKind::read_only));
  EXPECT_EQ(refused.message(), "Could not open '" + path + "': Read-only file system");
  get(open(path, Access::read_only)->close());
}

TEST_P(DirectFileOpenTest, AReadOnlyDeviceOpensForReadingOnly) {
  if (const auto why = missing(Place::loop512)) GTEST_SKIP() << *why;
  const LoopDevice device(make_file("disk"), {.read_only = true});
  const Error refused = open_error(device.path());
  EXPECT_EQ(to_string(refused.kind()), to_string(ErrorKind::read_only));
  get(open(device.path(), Access::read_only)->close());
}

TEST_P(DirectFileOpenTest, AdoptsADescriptorAndNamesItAsAsked) {
  const std::string path = make_file("file");
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  const auto file = get(DirectFile::adopt(
      std::move(fd), "my file", {.access = Access::read_write, .cache = GetParam().cache}));
  EXPECT_EQ(file->name(), "my file");
  const std::vector<std::byte> data = random_bytes(5000, 1);
  get(file->write(7, data));
  std::vector<std::byte> back(5000);
  get(read_exactly(*file, 7, back));
  EXPECT_EQ(back, data);
  get(file->close());
}

TEST_P(DirectFileOpenTest, AFileThatIsNeverClosedGivesItsDescriptorBack) {
  const std::string path = make_file("file");
  int fd = -1;
  {
    const auto file = open(path);
    fd = file->fd();
  }
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

// 64 files fit into the ring's table; the others work without.
TEST_P(DirectFileOpenTest, ManyFilesAreOpenAtOnce) {
  const std::string path = make_file("file");
  std::vector<std::unique_ptr<DirectFile>> files;
  for (int n = 0; n < 100; ++n) files.push_back(open(path, Access::read_only));
  std::vector<std::byte> into(8192);
  for (const auto& file : files) EXPECT_EQ(get(file->read(0, into)), 8192U);
  for (const auto& file : files) get(file->close());
}

}  // namespace
}  // namespace platter::test
