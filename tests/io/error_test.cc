#include "io/error.h"

#include <cerrno>
#include <clocale>
#include <set>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace platter {
namespace {

constexpr int kKinds = static_cast<int>(ErrorKind::cancelled) + 1;

TEST(Error, OfASystemCallTellsWhatWhereAndWhy) {
  const Error error = Error::from_errno(EIO, "read", "a.img", 4096);
  EXPECT_EQ(error.message(), "Could not read 'a.img' at offset 4096: Input/output error");
  EXPECT_EQ(error.reason(), "Input/output error");
  EXPECT_EQ(error.kind(), ErrorKind::io);
  EXPECT_EQ(error.os_error(), EIO);
  EXPECT_EQ(error.operation(), "read");
  EXPECT_EQ(error.path(), "a.img");
  EXPECT_EQ(error.offset(), 4096U);
}

TEST(Error, LeavesOutWhatIsNotKnown) {
  EXPECT_EQ(Error::from_errno(ENOENT, "open", "a.img").message(),
            "Could not open 'a.img': No such file or directory");
  EXPECT_EQ(Error::from_errno(ENOMEM, "start a thread").message(),
            "Could not start a thread: Cannot allocate memory");
  EXPECT_EQ(Error::from_errno(EIO, "").message(), "Input/output error");
  EXPECT_EQ(Error::from_errno(EIO, "read", "a.img", 0).message(),
            "Could not read 'a.img' at offset 0: Input/output error");
}

TEST(Error, OfPlattersOwnSaysItsSentence) {
  const Error error(ErrorKind::too_large, "The L1 table is too large");
  EXPECT_EQ(error.message(), "The L1 table is too large");
  EXPECT_EQ(error.reason(), "The L1 table is too large");
  EXPECT_EQ(error.kind(), ErrorKind::too_large);
  EXPECT_EQ(error.os_error(), 0);
  EXPECT_EQ(error.operation(), "");
  EXPECT_EQ(error.path(), "");
  EXPECT_FALSE(error.offset());
}

TEST(Error, ContextsStandInFrontTheLatestFirst) {
  Error error = Error::from_errno(ENOSPC, "write", "b.img", 512).with_context("inner");
  error = std::move(error).with_context("outer");
  EXPECT_EQ(error.message(),
            "outer: inner: Could not write 'b.img' at offset 512: No space left on device");
  EXPECT_EQ(error.reason(), "No space left on device");
  EXPECT_EQ(error.kind(), ErrorKind::no_space);
  EXPECT_EQ(error.offset(), 512U);
}

TEST(Error, AClonesChangesDoNotReachTheOriginal) {
  const Error original = Error::from_errno(EACCES, "open", "a.img");
  const Error clone = original.clone().with_context("context");
  EXPECT_EQ(clone.message(), "context: Could not open 'a.img': Permission denied");
  EXPECT_EQ(clone.kind(), ErrorKind::permission);
  EXPECT_EQ(clone.os_error(), EACCES);
  EXPECT_EQ(original.message(), "Could not open 'a.img': Permission denied");
}

TEST(Error, CostsAResultOneWord) { static_assert(sizeof(Error) <= 2 * sizeof(void*)); }

TEST(ErrorKind, EveryKindHasItsOwnName) {
  std::set<std::string_view> names;
  for (int kind = 0; kind < kKinds; ++kind) names.insert(to_string(static_cast<ErrorKind>(kind)));
  EXPECT_EQ(names.size(), std::size_t{kKinds});
  EXPECT_FALSE(names.contains("unknown"));
  EXPECT_EQ(to_string(ErrorKind::no_space), "no_space");
}

TEST(ErrorKind, FollowsFromErrno) {
  const std::pair<int, ErrorKind> expected[] = {
      {EIO, ErrorKind::io},
      {ENOENT, ErrorKind::not_found},
      {EEXIST, ErrorKind::already_exists},
      {EACCES, ErrorKind::permission},
      {EPERM, ErrorKind::permission},
      {ENOSPC, ErrorKind::no_space},
      {EDQUOT, ErrorKind::no_space},
      {EROFS, ErrorKind::read_only},
      {EBUSY, ErrorKind::in_use},
      {EOPNOTSUPP, ErrorKind::unsupported},
      {ENOSYS, ErrorKind::unsupported},
      {EINVAL, ErrorKind::invalid_argument},
      {EISDIR, ErrorKind::wrong_type},
      {ENOTDIR, ErrorKind::wrong_type},
      {EFBIG, ErrorKind::too_large},
      {ENOMEM, ErrorKind::out_of_memory},
      {ECANCELED, ErrorKind::cancelled},
      {4095, ErrorKind::io},
  };
  for (const auto& [os_error, kind] : expected)
    EXPECT_EQ(kind_of_errno(os_error), kind) << os_error;
}

TEST(ErrnoText, IsInEnglishWhateverTheLocale) {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  std::setlocale(LC_ALL, "de_DE.UTF-8");  // where it is installed
  EXPECT_EQ(errno_text(ENOSPC), "No space left on device");
  std::setlocale(LC_ALL, before.c_str());
  EXPECT_EQ(errno_text(4095), "Unknown error 4095");
}

TEST(ErrorDeathTest, ZeroIsNoErrno) {
  EXPECT_DEATH((void)Error::from_errno(0, "read"), "CHECK failed: os_error > 0");
  EXPECT_DEATH((void)Error::from_errno(-EIO, "read"), "CHECK failed: os_error > 0");
}

Result<int> fails() { return fail(ErrorKind::io, "io"); }
Result<int> fails_with_errno() { return fail_errno(EIO, "read", "a.img", 7); }
Result<int> fails_with_error() { return fail(Error::from_errno(EIO, "read").with_context("c")); }

TEST(Fail, MakesAResultOfAnyType) {
  EXPECT_EQ(fails().error().message(), "io");
  EXPECT_EQ(fails_with_errno().error().offset(), 7U);
  EXPECT_EQ(fails_with_error().error().message(), "c: Could not read: Input/output error");
}

}  // namespace
}  // namespace platter
