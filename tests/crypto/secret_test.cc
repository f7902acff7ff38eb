#include "crypto/secret.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <string>
#include <type_traits>

#include <gtest/gtest.h>

#include "crypto/secret_source.h"

namespace platter {
namespace {

static_assert(!std::is_copy_constructible_v<Secret> && !std::is_copy_assignable_v<Secret>);
static_assert(std::is_nothrow_move_constructible_v<Secret>);

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// The first line and the flags of the mapping that holds the address.
std::pair<std::string, std::string> mapping_of(const void* address) {
  std::ifstream smaps("/proc/self/smaps");
  std::string name;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      const auto at = reinterpret_cast<std::uintptr_t>(address);
      name = begin <= at && at < end ? line : "";
    }
    if (!name.empty() && line.starts_with("VmFlags:")) return {name, line + " "};
  }
  return {};
}

TEST(Secret, HoldsBytes) {
  const std::string text("pass\0phrase", 11);
  const Secret secret = Secret::copy_of(bytes_of(text)).value();
  EXPECT_TRUE(std::ranges::equal(secret.view(), bytes_of(text)));
  EXPECT_TRUE(secret.equals(bytes_of(text)));
  EXPECT_FALSE(secret.equals(bytes_of("pass")));
  EXPECT_FALSE(secret.equals(bytes_of("pass-phrase")));
  EXPECT_TRUE(Secret().equals({}));
  EXPECT_TRUE(Secret::make(0).value().empty());
}

TEST(Secret, IsOutOfDumpsChildrenAndLvmsReach) {
  const Secret secret = Secret::copy_of(bytes_of("x")).value();
  const auto [name, flags] = mapping_of(secret.view().data());
  EXPECT_TRUE(name.contains("memfd:") || name.contains("secretmem")) << name;
  EXPECT_TRUE(flags.contains(" dd ")) << flags;  // not dumped
  EXPECT_TRUE(flags.contains(" dc ")) << flags;  // not copied by fork()
}

TEST(Secret, AChildDoesNotHaveIt) {
  const Secret secret = Secret::copy_of(bytes_of("x")).value();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);  // no sanitizer's report
    const volatile std::byte* const at = secret.view().data();
    ::_exit(static_cast<int>(*at) == 'x' ? 1 : 2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) << status;
}

TEST(Secret, IsUnmappedAtTheEnd) {
  const std::byte* at = nullptr;
  {
    Secret first = Secret::copy_of(bytes_of("x")).value();
    at = first.view().data();
    const Secret second = std::move(first);
    EXPECT_EQ(second.view().data(), at);
    EXPECT_NE(mapping_of(at).first, "");
  }
  const std::string name = mapping_of(at).first;
  EXPECT_FALSE(name.contains("memfd:") || name.contains("secretmem")) << name;
}

TEST(Secret, WhatIsCutOffIsWiped) {
  Secret secret = Secret::copy_of(bytes_of("abcdef")).value();
  const std::byte* const at = secret.view().data();
  secret.shrink(2);
  EXPECT_TRUE(secret.equals(bytes_of("ab")));
  EXPECT_TRUE(std::ranges::all_of(std::span(at, 6).subspan(2),
                                  [](std::byte byte) { return byte == std::byte{0}; }));
}

TEST(Secret, LargeOnesWorkBeyondTheLimitOfLockedMemory) {
  Secret secret = Secret::make(std::size_t{16} << 20).value();
  std::ranges::fill(secret.writable(), std::byte{7});
  EXPECT_EQ(secret.view().back(), std::byte{7});
}

TEST(SecretStore, GivesOutCopies) {
  SecretStore store;
  store.put("a", Secret::copy_of(bytes_of("first")).value());
  store.put("a", Secret::copy_of(bytes_of("second")).value());
  EXPECT_TRUE(store.has("a"));
  const Secret one = store.get("a").value();
  const Secret other = store.get("a").value();
  EXPECT_TRUE(one.equals(bytes_of("second")));
  EXPECT_NE(one.view().data(), other.view().data());
  const Result<Secret> none = store.get("b");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind(), ErrorKind::not_found);
  EXPECT_EQ(none.error().message(), "No secret with id 'b'");
}

}  // namespace
}  // namespace platter
