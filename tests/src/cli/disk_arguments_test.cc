#include "src/cli/disk_arguments.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "src/cli/base_source.h"
#include "tests/support/temp_dir.h"

namespace platter::cli {
namespace {

constexpr auto kOptions = join_options(kDiskOptions, kPlaceOptions);

Arguments parsed(const std::vector<std::string>& words) {
  return Arguments::parse(kOptions, words).value();
}

TEST(DiskArguments, OfTheCommandLineComeBeforeThoseOfTheFile) {
  const test::TempDir folder;
  std::ofstream(folder / "c") << "backend = \"flat\"\ninstances = \"/a\"\n";
  const auto file = given_config(parsed({"--config", folder / "c"}));
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(file->backend, provision::BackendKind::flat);
  EXPECT_EQ(file->instances, "/a");
  const auto both = given_config(
      parsed({"--config", folder / "c", "--backend", "qcow2", "--instances", "b/./c/"}));
  ASSERT_TRUE(both) << both.error().message();
  EXPECT_EQ(both->backend, provision::BackendKind::qcow2);
  EXPECT_EQ(both->instances, (std::filesystem::current_path() / "b/c").string());
  EXPECT_FALSE(given_config(parsed({"--backend", "rbd"})));
  EXPECT_FALSE(given_config(parsed({"--backend", "lvm"})));  // no volume group
}

TEST(DiskArguments, NameADisk) {
  const std::string uuid = "0b4f1e52-3a9c-4d6e-8f00-123456789abc";
  EXPECT_TRUE(given_disk(parsed({"--instance", uuid, "--disk", "disk"})));
  EXPECT_EQ(given_disk(parsed({"--disk", "disk"})).error().message(), "Expecting --instance");
  EXPECT_EQ(given_disk(parsed({"--instance", uuid})).error().message(), "Expecting --disk");
  EXPECT_FALSE(given_disk(parsed({"--instance", uuid, "--disk", "../x"})));
}

TEST(BaseSources, OfFilesAreKnownByWhatTheyAreNow) {
  const test::TempDir folder;
  std::ofstream(folder / "a") << "1";
  const auto first = open_base_source(folder / "a");
  ASSERT_TRUE(first);
  EXPECT_FALSE(first->image_id.empty());
  std::ofstream(folder / "a") << "12";
  EXPECT_NE(open_base_source(folder / "a")->image_id, first->image_id);
  EXPECT_EQ(open_base_source(folder / "none").error().kind(), ErrorKind::not_found);
  for (const std::string bad : {"fd:", "fd:x", "fd:-1", "fd:9999"})
    EXPECT_FALSE(open_base_source(bad)) << bad;
}

}  // namespace
}  // namespace platter::cli
