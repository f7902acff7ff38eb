#include "formats/reference.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace platter::test {
namespace {

class MeansFile : public testing::Test {
 protected:
  MeansFile() {
    std::filesystem::create_directory(folder_ / "sub");
    std::ofstream(folder_ / "base") << "base";
    std::ofstream(folder_ / "other") << "other";
    std::filesystem::create_symlink("base", folder_ / "link");
  }
  bool means(const std::string& name) const { return means_file(folder_ / "image", name, base_); }

  TempDir folder_;
  std::string base_ = folder_ / "base";
};

TEST_F(MeansFile, ANameIsRelativeToTheImagesFolder) {
  EXPECT_TRUE(means("base"));
  EXPECT_TRUE(means("./sub/../base"));
  EXPECT_TRUE(means(folder_ / "base"));
  EXPECT_TRUE(means("file:" + folder_ / "base"));
  EXPECT_TRUE(means_file(folder_ / "sub/image", "../base", base_));
  EXPECT_FALSE(means_file(folder_ / "sub/image", "base", base_));
}

TEST_F(MeansFile, LinksAreFollowed) {
  EXPECT_TRUE(means("link"));
  EXPECT_TRUE(means_file(folder_ / "image", "base", folder_ / "link"));
}

TEST_F(MeansFile, OtherNamesMeanOtherFiles) {
  EXPECT_FALSE(means("other"));
  EXPECT_FALSE(means(""));
  EXPECT_FALSE(means("."));
  EXPECT_FALSE(means("nbd:base"));
}

TEST_F(MeansFile, WhatLeadsNowhereMeansNothing) {
  EXPECT_FALSE(means("absent"));
  EXPECT_FALSE(means_file(folder_ / "image", "absent", folder_ / "absent"));
}

}  // namespace
}  // namespace platter::test
