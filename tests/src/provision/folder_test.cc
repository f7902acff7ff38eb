#include "src/provision/folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "formats/open.h"
#include "io/bytes.h"
#include "io/ring.h"
#include "src/ops/create.h"
#include "tests/src/ops/file_tools.h"
#include "tests/support/in_child.h"
#include "tests/support/syscall_faults.h"

namespace platter::provision::test {
namespace {

using platter::test::TempDir;

class FolderBelow : public testing::Test {
 protected:
  FolderBelow() {
    EXPECT_EQ(::mkdir((outer_ / "root").c_str(), 0755), 0);
    platter::test::write_file(outer_ / "secret", std::as_bytes(std::span("secret", 6)));
    root_.emplace(Folder::open(outer_ / "root").value());
  }
  ErrorKind kind_of_open(const std::string& name) {
    const auto fd = root_->open_file(name, O_RDONLY);
    EXPECT_FALSE(fd) << name;
    return fd ? ErrorKind::io : fd.error().kind();
  }

  TempDir outer_;
  std::optional<Folder> root_;
};

TEST_F(FolderBelow, NamesHaveOnePart) {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("../secret"),
        outer_ / "secret", std::string("a/b"), std::string("a\0b", 3)}) {
    EXPECT_EQ(kind_of_open(name), ErrorKind::refused_by_policy) << name;
    EXPECT_FALSE(root_->remove_file(name));
    EXPECT_FALSE(root_->rename(name, "x"));
    EXPECT_FALSE(root_->rename("x", name));
    EXPECT_FALSE(root_->remove_folder(name));
    EXPECT_FALSE(root_->status(name));
    EXPECT_FALSE(root_->make_folder(name));
  }
}

TEST_F(FolderBelow, LinksAreNotFollowed) {
  ASSERT_EQ(::symlink((outer_ / "secret").c_str(), root_->path_of("link").c_str()), 0);
  ASSERT_EQ(::symlink(outer_.path().c_str(), root_->path_of("out").c_str()), 0);
  ASSERT_EQ(::symlink("/proc/self/root", root_->path_of("magic").c_str()), 0);
  EXPECT_EQ(kind_of_open("link"), ErrorKind::refused_by_policy);
  EXPECT_FALSE(root_->folder("out"));
  EXPECT_FALSE(root_->make_folder("out"));
  EXPECT_FALSE(root_->folder("magic"));
  const auto made = root_->open_file("link", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  EXPECT_FALSE(made);
  EXPECT_EQ(platter::test::status_of(outer_ / "secret").size, 6U);
  // The link itself can go.
  EXPECT_EQ(root_->remove_file("link").value(), true);
  EXPECT_TRUE(platter::test::status_of(outer_ / "secret").exists);
}

TEST_F(FolderBelow, AFifoIsNotWaitedFor) {
  ASSERT_EQ(::mkfifo(root_->path_of("fifo").c_str(), 0600), 0);
  EXPECT_EQ(kind_of_open("fifo"), ErrorKind::wrong_type);
}

TEST_F(FolderBelow, FilesAreMadeRenamedListedAndRemoved) {
  ASSERT_TRUE(root_->open_file("a", O_WRONLY | O_CREAT | O_EXCL, 0644));
  ASSERT_TRUE(root_->rename("a", "b"));
  EXPECT_FALSE(root_->status("a").value());
  EXPECT_TRUE(root_->status("b").value());
  const Folder sub = root_->make_folder("sub").value();
  ASSERT_TRUE(root_->make_folder("sub"));  // again
  ASSERT_TRUE(sub.open_file("x", O_WRONLY | O_CREAT, 0644));
  EXPECT_EQ(root_->names()->size(), 2U);
  EXPECT_EQ(root_->remove_folder("sub").value(), false);  // not empty
  EXPECT_EQ(sub.remove_file("x").value(), true);
  EXPECT_EQ(sub.remove_file("x").value(), false);
  EXPECT_EQ(root_->remove_folder("sub").value(), true);
  EXPECT_EQ(root_->remove_folder("sub").value(), false);
}

TEST_F(FolderBelow, ImagesAreMadeAndOpenedBelowItOnly) {
  const auto ring = Ring::create().value();
  ASSERT_TRUE(root_->make_folder("sub"));
  const auto create = [&](const std::string& path) {
    CreateOptions options{.filename = path, .size = kMiB};
    options.lookup = root_->lookup();
    return ring->run(create_image(std::move(options)));
  };
  const auto open = [&](const std::string& path) -> Result<void> {
    OpenPolicy policy;
    policy.lookup = root_->lookup();
    auto opened = ring->run(open_image(path, {.format = "raw"}, policy));
    if (!opened) return fail(std::move(opened.error()));
    return ring->run(opened->image->close());
  };
  EXPECT_TRUE(create(root_->path_of("sub/disk")));
  EXPECT_TRUE(open(root_->path_of("sub/disk")));
  EXPECT_TRUE(open(root_->path_of("sub/../sub//disk")));
  EXPECT_EQ(open(root_->path_of("../secret")).error().kind(), ErrorKind::refused_by_policy);
  EXPECT_EQ(open(outer_ / "secret").error().kind(), ErrorKind::refused_by_policy);
  // A dangling link that would have an image made elsewhere, and one at an image.
  ASSERT_EQ(::symlink((outer_ / "made").c_str(), root_->path_of("dangling").c_str()), 0);
  ASSERT_EQ(::symlink("sub/disk", root_->path_of("inside").c_str()), 0);
  EXPECT_FALSE(create(root_->path_of("dangling")));
  EXPECT_FALSE(platter::test::status_of(outer_ / "made").exists);
  EXPECT_FALSE(open(root_->path_of("inside")));
}

// A folder that is a link at one moment and a folder at the next.
TEST_F(FolderBelow, NoRaceLeadsOut) {
  ASSERT_EQ(::mkdir((outer_ / "evil").c_str(), 0755), 0);
  ASSERT_TRUE(root_->make_folder("kept"));
  ASSERT_EQ(::symlink((outer_ / "evil").c_str(), root_->path_of("link").c_str()), 0);
  std::atomic<bool> stop = false;
  std::thread attacker([&] {
    while (!stop) {
      ::syscall(SYS_renameat2, root_->fd(), "kept", root_->fd(), "link", 2U /* RENAME_EXCHANGE */);
    }
  });
  int made = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto folder = root_->folder("kept");
    if (!folder) continue;
    made += folder->open_file("file" + std::to_string(i), O_WRONLY | O_CREAT, 0644) ? 1 : 0;
  }
  stop = true;
  attacker.join();
  EXPECT_GT(made, 0);
  const Folder evil = Folder::open(outer_ / "evil").value();
  EXPECT_TRUE(evil.names()->empty());
}

TEST_F(FolderBelow, NothingIsOpenedWithoutOpenat2) {
  if (const auto why = platter::test::no_syscall_faults()) GTEST_SKIP() << *why;
  ASSERT_TRUE(root_->open_file("file", O_WRONLY | O_CREAT, 0644));
  for (const int os_error : {ENOSYS, EPERM}) {
    EXPECT_TRUE(platter::test::in_child([&] {
      platter::test::refuse_syscall(SYS_openat2, os_error);
      EXPECT_EQ(kind_of_open("file"), ErrorKind::unsupported);
      EXPECT_FALSE(root_->make_folder("sub"));
      EXPECT_FALSE(root_->lookup()(root_->path_of("file")));
    }));
  }
}

}  // namespace
}  // namespace platter::provision::test
