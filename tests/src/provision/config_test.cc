#include "src/provision/config.h"

#include <string>

#include <gtest/gtest.h>

#include "io/bytes.h"

namespace platter::provision::test {
namespace {

std::string error_of(const std::string& text) {
  const Result<Config> config = parse_config(text, "c.toml");
  EXPECT_FALSE(config) << text;
  return config ? "" : config.error().message();
}

TEST(ProvisionConfig, OfAnEmptyFileIsTheUsualOne) {
  const Config config = parse_config("", "c.toml").value();
  EXPECT_EQ(config.base_folder, "_base");
  EXPECT_EQ(config.backend, BackendKind::qcow2);
  EXPECT_TRUE(config.force_raw);
  EXPECT_FALSE(config.cluster_size);
}

TEST(ProvisionConfig, HasAllOfItsKeys) {
  const Result<Config> read = parse_config(R"(
instances = "/i"
base_folder = "bases"
backend = "lvm"
force_raw = false
preallocate = true
cluster_size = "128K"
[lvm]
volume_group = "vg"
volumes = "thin"
thin_pool = "pool"
clear = "random"
clear_size = 1048576
clear_passes = 3
[encryption]
enabled = true
format = "plain"
cipher = "aes-cbc-essiv:sha256"
key_size = 256
hash = "sha256"
key_file = "/k"
[cache]
retention = 10
resized_retention = 5
[limits]
lock_wait = 7
template_size = "1G"
disk_size = "2G"
)",
                                           "c.toml");
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->instances, "/i");
  EXPECT_EQ(read->base_folder, "bases");
  EXPECT_EQ(read->backend, BackendKind::lvm);
  EXPECT_FALSE(read->force_raw);
  EXPECT_TRUE(read->preallocate);
  EXPECT_EQ(read->cluster_size, 128 * kKiB);
  EXPECT_EQ(read->volumes.volume_group, "vg");
  EXPECT_EQ(read->volumes.kind, VolumeKind::thin);
  EXPECT_EQ(read->volumes.thin_pool, "pool");
  EXPECT_EQ(read->volumes.clear.method, WipeMethod::random);
  EXPECT_EQ(read->volumes.clear.first, kMiB);
  EXPECT_EQ(read->volumes.clear.passes, 3U);
  EXPECT_TRUE(read->encryption.enabled);
  EXPECT_EQ(read->encryption.format, EncryptionFormat::plain);
  EXPECT_EQ(read->encryption.cipher, "aes-cbc-essiv:sha256");
  EXPECT_EQ(read->encryption.key_bits, 256U);
  EXPECT_EQ(read->encryption.hash, "sha256");
  EXPECT_EQ(read->encryption.key_file, "/k");
  EXPECT_EQ(read->cache.retention.count(), 10);
  EXPECT_EQ(read->cache.resized_retention.count(), 5);
  EXPECT_EQ(read->limits.lock_wait.count(), 7);
  EXPECT_EQ(read->limits.template_max, kGiB);
  EXPECT_EQ(read->limits.disk_max, 2 * kGiB);
}

TEST(ProvisionConfig, NamesTheLineOfWhatIsWrong) {
  EXPECT_EQ(error_of("force_raw = true\nforceraw = 1\n"), "c.toml:2: unknown key 'forceraw'");
  EXPECT_EQ(error_of("[cache]\n\nage = 1"), "c.toml:3: unknown key 'cache.age'");
  EXPECT_EQ(error_of("\n[what]\n"), "c.toml:2: unknown section [what]");
  EXPECT_EQ(error_of("force_raw = 1"), "c.toml:1: force_raw: true or false is expected");
  EXPECT_EQ(error_of("backend = \"rbd\""),
            "c.toml:1: backend: one of 'flat', 'qcow2', 'lvm' is expected");
  EXPECT_EQ(error_of("cluster_size = \"x\""), "c.toml:1: cluster_size: 'x' is no size");
  EXPECT_EQ(error_of("[cache]\nretention = -1"),
            "c.toml:2: cache.retention: a number of seconds is expected");
  EXPECT_EQ(error_of("instances = \"/i\\u0000/x\""),
            "c.toml:1: instances: a text without zero bytes is expected");
  EXPECT_TRUE(error_of("a = 1\nb = \n").starts_with("c.toml:2: "));
  EXPECT_TRUE(error_of("backend = \"qcow2\"\nbackend = \"flat\"\n").starts_with("c.toml:2: "));
}

TEST(ProvisionConfig, FitsTogether) {
  EXPECT_NE(error_of("instances = \"relative\"").find("absolute"), std::string::npos);
  for (const char* folder : {"..", "a/b", "", "locks", "0b4f1e52-3a9c-4d6e-8f00-123456789abc"}) {
    error_of("base_folder = \"" + std::string(folder) + "\"");
  }
  error_of("backend = \"lvm\"");
  error_of("[lvm]\nvolumes = \"thin\"");
  error_of("cluster_size = 1000");
  EXPECT_NE(
      error_of("[encryption]\nenabled = true\nkey_file = \"/k\"").find("qcow2 has no encryption"),
      std::string::npos);
  error_of("backend = \"lvm\"\n[lvm]\nvolume_group = \"vg\"\n[encryption]\nenabled = true\n");
}

TEST(ProvisionConfig, OfAMissingFileIsAnError) {
  const Result<Config> config = read_config("/nonexistent/platter.toml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().kind(), ErrorKind::not_found);
}

}  // namespace
}  // namespace platter::provision::test
