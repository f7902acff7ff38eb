#include "io/new_file.h"

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "io/ring.h"
#include "tests/support/temp_dir.h"

namespace platter::test {
namespace {

class NewFileNames : public testing::Test {
 protected:
  struct Made {
    std::unique_ptr<NewFile> name;
    std::unique_ptr<DirectFile> file;
  };
  Made make(const std::string& path) {
    Result<std::unique_ptr<NewFile>> made = ring_->run(NewFile::create(path, {}));
    EXPECT_TRUE(made) << made.error().message();
    std::unique_ptr<DirectFile> file = (*made)->take_file();
    return {*std::move(made), std::move(file)};
  }
  bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }
  void close(Made& made) { EXPECT_TRUE(ring_->run(made.file->close())); }

  std::unique_ptr<Ring> ring_ = Ring::create().value();
  TempDir folder_;
};

TEST_F(NewFileNames, AreTakenBackByWithdraw) {
  const std::string path = folder_ / "a";
  Made made = make(path);
  EXPECT_TRUE(ring_->run(made.name->publish(*made.file)));
  EXPECT_TRUE(exists(path));
  made.name->withdraw(*made.file);
  EXPECT_FALSE(exists(path));
  close(made);
}

TEST_F(NewFileNames, ThatLeadToAnotherFileMeanwhileAreNotTakenBack) {
  const std::string path = folder_ / "a";
  Made first = make(path);
  EXPECT_TRUE(ring_->run(first.name->publish(*first.file)));
  ASSERT_EQ(::unlink(path.c_str()), 0);
  Made second = make(path);
  EXPECT_TRUE(ring_->run(second.name->publish(*second.file)));
  first.name->withdraw(*first.file);
  EXPECT_TRUE(exists(path));
  close(first);
  close(second);
}

TEST_F(NewFileNames, AreTheSameByFolderAndName) {
  Made a = make(folder_ / "a");
  Made same = make(folder_ / "./a");
  Made other = make(folder_ / "b");
  EXPECT_TRUE(a.name->same_name_as(*same.name));
  EXPECT_FALSE(a.name->same_name_as(*other.name));
  for (Made* made : {&a, &same, &other}) close(*made);
}

}  // namespace
}  // namespace platter::test
