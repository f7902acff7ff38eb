#include "crypto/key_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace platter {
namespace {

std::string write_file(const test::TempDir& folder, const std::string& contents, unsigned mode) {
  std::string path = folder / "key";
  std::ofstream(path) << contents;
  ::chmod(path.c_str(), mode);
  return path;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(KeyFile, AllOfItIsTheKey) {
  const test::TempDir folder;
  for (const std::size_t size : {1U, 4095U, 4096U, 4097U, 100'000U}) {
    const std::string contents = std::string(size - 1, 'k') + "\n";
    const Secret key = read_key_file(write_file(folder, contents, 0644)).value();
    EXPECT_TRUE(key.equals(bytes_of(contents))) << size;
  }
}

TEST(KeyFile, NothingAndTooMuchAreNoKeys) {
  const test::TempDir folder;
  EXPECT_EQ(read_key_file(write_file(folder, "", 0600)).error().kind(),
            ErrorKind::invalid_argument);
  const std::string path = write_file(folder, "", 0600);
  ASSERT_EQ(::truncate(path.c_str(), (8 << 20) + 1), 0);
  EXPECT_EQ(read_key_file(path).error().kind(), ErrorKind::too_large);
  ASSERT_EQ(::truncate(path.c_str(), 8 << 20), 0);
  EXPECT_EQ(read_key_file(path).value().size(), std::size_t{8} << 20);
  EXPECT_EQ(read_key_file(folder / "none").error().kind(), ErrorKind::not_found);
}

TEST(SecretFile, OthersMayNotReadOneThatIsToBePrivate) {
  const test::TempDir folder;
  for (const unsigned mode : {0640U, 0604U, 0644U}) {
    const std::string path = write_file(folder, "s", mode);
    const Result<Secret> secret = read_secret_file(path, SecretFileMode::owner_only, 100);
    ASSERT_FALSE(secret);
    EXPECT_EQ(secret.error().kind(), ErrorKind::permission);
    EXPECT_TRUE(secret.error().message().contains(path)) << secret.error().message();
    EXPECT_TRUE(read_secret_file(path, SecretFileMode::any, 100));
  }
  EXPECT_TRUE(read_secret_file(write_file(folder, "s", 0600), SecretFileMode::owner_only, 100));
}

TEST(SecretFile, TheLimitIsTheCallers) {
  const test::TempDir folder;
  const std::string path = write_file(folder, "12345", 0600);
  EXPECT_TRUE(read_secret_file(path, SecretFileMode::any, 5).value().equals(bytes_of("12345")));
  EXPECT_EQ(read_secret_file(path, SecretFileMode::any, 4).error().kind(), ErrorKind::too_large);
}

}  // namespace
}  // namespace platter
