#include "crypto/dm_crypt.h"

#include <unistd.h>

#include <fstream>

#include "crypto/locked_memory.h"
#include "io/direct_file.h"
#include "tests/support/temp_dir.h"
#include "tests/vm/vm_rig.h"

namespace platter {
namespace {

using test::Command;
using test::run_command;
using test::tool;

KeyView view(const std::string& text) { return std::as_bytes(std::span(text)); }

// As Nova has it: the hexadecimal text of a key of 512 bits.
const std::string kHexKey(128, '7');

LuksParameters quick(LuksVersion version, std::uint32_t sector_size = 512) {
  LuksParameters parameters{.version = version, .sector_size = sector_size};
  parameters.pbkdf_iterations = version == LuksVersion::luks1 ? 1000 : 4;
  parameters.pbkdf_memory_kib = version == LuksVersion::luks1 ? 0 : 64;
  return parameters;
}

/// A volume of 32 MiB to encrypt.
class DmCryptTest : public test::WithVolumeGroup {
 protected:
  void SetUp() override {
    WithVolumeGroup::SetUp();
    must(group().create({.name = "disk", .size = std::uint64_t{32} << 20}));
  }
  void write_marker(const std::string& path, const std::string& text) {
    std::ofstream file(path, std::ios::binary);
    file << text << std::flush;
    EXPECT_TRUE(file.good()) << path;
  }
  std::string read_marker(const std::string& path, std::size_t size) {
    std::ifstream file(path, std::ios::binary);
    std::string text(size, '\0');
    file.read(text.data(), static_cast<std::streamsize>(size));
    return text;
  }
  /// Runs cryptsetup with the key on its standard input.
  void cryptsetup(std::vector<std::string> words, const std::string& key) {
    words.insert(words.begin(), "cryptsetup");
    const auto result =
        run_command(Command{.argv = std::move(words), .input = key, .env = {"DM_DISABLE_UDEV=1"}});
    EXPECT_TRUE(result.ok()) << result.err;
  }
  const std::string device_ = "/dev/vmtest/disk";
};

TEST_F(DmCryptTest, APlainMappingIsCryptsetupsAndNovas) {
  for (const std::string hash : {"ripemd160", "sha256"}) {
    for (const std::string& key : {kHexKey, kHexKey + "\n"}) {  // a newline at the end counts
      const PlainParameters parameters{.hash = hash};
      must(open_plain(device_, "ours", parameters, view(key)));
      write_marker("/dev/mapper/ours", "written by us " + hash);
      must(close_mapping("ours"));
      cryptsetup({"open", "--type", "plain", "--key-file=-", "--cipher", "aes-xts-plain64",
                  "--key-size", "512", "--hash", hash, device_, "theirs"},
                 key);
      EXPECT_EQ(read_marker("/dev/mapper/theirs", 14), "written by us ");
      write_marker("/dev/mapper/theirs", "written by them");
      tool("cryptsetup", "close", "theirs");
      must(open_plain(device_, "ours", parameters, view(key)));
      EXPECT_EQ(read_marker("/dev/mapper/ours", 15), "written by them");
      must(close_mapping("ours"));
    }
  }
}

TEST_F(DmCryptTest, AVerbatimKeyIsCryptsetupsKeyFile) {
  const test::TempDir folder;
  const std::string key(64, 'k');
  const std::string file = folder / "key";
  write_marker(file, key + "and what is too much");
  tool("cryptsetup", "open", "--type", "plain", "--key-file", file, "--cipher", "aes-xts-plain64",
       "--key-size", "512", device_, "theirs");
  write_marker("/dev/mapper/theirs", "by file");
  tool("cryptsetup", "close", "theirs");
  must(open_plain(device_, "ours", {.key = PlainKey::verbatim}, view(key + "and more")));
  EXPECT_EQ(read_marker("/dev/mapper/ours", 7), "by file");
  must(close_mapping("ours"));
  must_fail(open_plain(device_, "ours", {.key = PlainKey::verbatim}, view("short")),
            ErrorKind::invalid_argument, "5 bytes where 64 are needed");
  must_fail(open_plain(device_, "ours", {.hash = "plain"}, view("short")),
            ErrorKind::invalid_argument);
}

TEST_F(DmCryptTest, EachLuksOpensWithCryptsetupAndBack) {
  struct Case {
    LuksVersion version;
    std::uint32_t sector_size;
    std::string type;
  };
  for (const Case& luks :
       {Case{LuksVersion::luks1, 512, "luks1"}, Case{LuksVersion::luks2, 512, "luks2"},
        Case{LuksVersion::luks2, 4096, "luks2"}}) {
    must(format_luks(device_, quick(luks.version, luks.sector_size), view("secret")));
    must(open_luks(device_, "ours", view("secret")));
    const auto status = must(mapping_status("ours"));
    ASSERT_TRUE(status);
    EXPECT_EQ(status->type, luks.type == "luks1" ? "LUKS1" : "LUKS2");
    EXPECT_EQ(status->cipher, "aes-xts-plain64");
    EXPECT_EQ(status->key_bits, 512U);
    EXPECT_EQ(status->sector_size, luks.sector_size);
    EXPECT_EQ(status->size + status->offset, std::uint64_t{32} << 20);
    write_marker("/dev/mapper/ours", "ours");
    must(close_mapping("ours"));
    cryptsetup({"open", "--type", "luks", "--key-file=-", device_, "theirs"}, "secret");
    EXPECT_EQ(read_marker("/dev/mapper/theirs", 4), "ours");
    tool("cryptsetup", "close", "theirs");

    cryptsetup(
        {"luksFormat", "-q", "--type", luks.type, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations",
         "1000", "--sector-size", std::to_string(luks.sector_size), "--key-file=-", device_},
        "theirs");
    must_fail(open_luks(device_, "ours", view("secret")), ErrorKind::permission,
              "no key slot has this passphrase");
    must(open_luks(device_, "ours", view("theirs")));
    must(close_mapping("ours"));
  }
}

TEST_F(DmCryptTest, AHeaderMayNotAskForMoreThanTheLimits) {
  must(format_luks(device_, quick(LuksVersion::luks2), view("secret")));
  must_fail(open_luks(device_, "ours", view("secret"), {}, {.argon2_iterations_max = 3}),
            ErrorKind::too_large, "key slot 0 asks for 4 iterations");
  must_fail(open_luks(device_, "ours", view("secret"), {}, {.memory_kib_max = 63}),
            ErrorKind::too_large, "64 KiB of memory");
  must(format_luks(device_, quick(LuksVersion::luks1), view("secret")));
  must_fail(open_luks(device_, "ours", view("secret"), {}, {.pbkdf2_iterations_max = 999}),
            ErrorKind::too_large);
  must(open_luks(device_, "ours", view("secret")));
  must(close_mapping("ours"));
}

TEST_F(DmCryptTest, AMappingGrowsWithItsVolume) {
  must(open_plain(device_, "ours", {}, view(kHexKey)));
  must(group().extend("disk", std::uint64_t{48} << 20));
  must(resize_mapping("ours"));
  EXPECT_EQ(must(mapping_status("ours"))->size, std::uint64_t{48} << 20);
  must(resize_mapping("ours", std::uint64_t{16} << 20));
  EXPECT_EQ(must(mapping_status("ours"))->size, std::uint64_t{16} << 20);
  must(close_mapping("ours"));

  must(format_luks(device_, quick(LuksVersion::luks2), view("secret")));
  must(open_luks(device_, "ours", view("secret")));
  must(group().extend("disk", std::uint64_t{64} << 20));
  must(resize_mapping("ours", std::nullopt, view("secret")));
  const auto status = must(mapping_status("ours"));
  EXPECT_EQ(status->size + status->offset, std::uint64_t{64} << 20);
  must(close_mapping("ours"));
}

TEST_F(DmCryptTest, AMappingInUseIsRefusedOrGoesLater) {
  must(open_plain(device_, "ours", {}, view(kHexKey)));
  auto file = must(DirectFile::open("/dev/mapper/ours", {}));
  must_fail(close_mapping("ours", DmRemoval::now), ErrorKind::in_use, "in use");
  must_fail(group().remove("disk"), ErrorKind::in_use);
  must(close_mapping("ours", DmRemoval::deferred));
  EXPECT_TRUE(must(dm_info("ours"))->removal_pending);
  must(file->close());
  // The kernel lets go of a file that a ring had registered a little later.
  for (int i = 0; i < 500 && must(dm_info("ours")); ++i) ::usleep(10'000);
  EXPECT_FALSE(must(dm_info("ours")));
}

TEST_F(DmCryptTest, TwoHundredMappingsLeaveNothing) {
  must(open_plain(device_, "ours", {}, view(kHexKey)));  // the library is warm
  must(close_mapping("ours"));
  const auto locked_before = locked_ranges();
  const std::size_t descriptors_before = test::open_descriptors();
  for (int i = 0; i < 200 && !HasFailure(); ++i) {
    must(open_plain(device_, "ours", {}, view(kHexKey)));
    must(close_mapping("ours"));
  }
  EXPECT_EQ(must(dm_list()), std::vector<std::string>{"vmtest-disk"});
  EXPECT_EQ(locked_ranges(), locked_before);
  EXPECT_EQ(test::open_descriptors(), descriptors_before);
}

TEST_F(DmCryptTest, OptionsReachTheKernel) {
  must(open_plain(device_, "ours", {}, view(kHexKey), {.read_only = true, .allow_discards = true}));
  EXPECT_TRUE(must(dm_info("ours"))->read_only);
  EXPECT_TRUE(must(mapping_status("ours"))->read_only);
  EXPECT_NE(tool("dmsetup", "table", "ours").find("allow_discards"), std::string::npos);
  must(close_mapping("ours"));
}

TEST_F(DmCryptTest, ErrorsHaveAKindAndALine) {
  must_fail(open_plain("/dev/vmtest/none", "ours", {}, view(kHexKey)), ErrorKind::not_found,
            "/dev/vmtest/none");
  must_fail(open_plain("disk", "ours", {}, view(kHexKey)), ErrorKind::invalid_argument);
  for (const char* name : {"", "..", "a/b", "control", "a b", "a\nb"}) {
    must_fail(open_plain(device_, name, {}, view(kHexKey)), ErrorKind::invalid_argument,
              "Invalid mapping name");
  }
  must_fail(open_plain(device_, "ours", {.cipher = "aes"}, view(kHexKey)),
            ErrorKind::invalid_argument, "Invalid cipher 'aes'");
  must_fail(open_plain(device_, "ours", {.cipher = "nosuch-xts-plain64"}, view(kHexKey)),
            ErrorKind::unsupported, "no cipher 'nosuch-xts-plain64'");
  must_fail(open_plain(device_, "ours", {.hash = "nosuch"}, view(kHexKey)),
            ErrorKind::invalid_argument);
  must_fail(open_luks(device_, "ours", view("x")), ErrorKind::unknown_format);
  must_fail(close_mapping("nothing"), ErrorKind::not_found);
  EXPECT_FALSE(must(mapping_status("nothing")));
  must(open_plain(device_, "ours", {}, view(kHexKey)));
  must_fail(open_plain(device_, "ours", {}, view(kHexKey)), ErrorKind::already_exists);
  must(close_mapping("ours"));
}

TEST_F(DmCryptTest, ADamagedHeaderIsUnknownFormat) {
  must(format_luks(device_, quick(LuksVersion::luks2), view("secret")));
  const auto destroy = [](std::string path) -> Task<void> {
    auto file = co_await DirectFile::open(path, {.access = Access::read_write});
    co_await file->write_zeroes(4096, 1 << 20, ZeroMode::keep_allocated);
    co_await file->flush();
    co_await file->close();
  };
  must(destroy(device_));
  must_fail(open_luks(device_, "ours", view("secret")), ErrorKind::unknown_format);
}

}  // namespace
}  // namespace platter
