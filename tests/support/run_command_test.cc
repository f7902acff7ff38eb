#include "tests/support/run_command.h"

#include <chrono>

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace platter::test {
namespace {

TEST(RunCommand, CapturesOutputErrorsAndExitCode) {
  const CommandResult result = run_command("sh", "-c", "echo out; echo err >&2; exit 3");
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_FALSE(result.timed_out);
}

TEST(RunCommand, ArgumentsAreNotInterpreted) {
  EXPECT_EQ(run_command("printf", "%s|", "a b", "$HOME", "*").out, "a b|$HOME|*|");
}

TEST(RunCommand, FeedsInputOfAnySizeWhileItReadsOutput) {
  const std::string input(3 << 20, 'x');
  EXPECT_EQ(run_command(Command{.argv = {"cat"}, .input = input}).out, input);
}

TEST(RunCommand, ACommandMayIgnoreItsInput) {
  EXPECT_TRUE(run_command(Command{.argv = {"true"}, .input = std::string(1 << 20, 'x')}).ok());
}

TEST(RunCommand, SetsEnvironmentAndFolder) {
  const TempDir folder;
  const CommandResult result = run_command(Command{.argv = {"sh", "-c", "echo $PLATTER_X; pwd"},
                                                   .env = {"PLATTER_X=1 2"},
                                                   .folder = folder.path()});
  EXPECT_EQ(result.out, "1 2\n" + folder.path() + "\n");
}

TEST(RunCommand, ATimeoutKillsTheCommandAndItsChildren) {
  const auto start = std::chrono::steady_clock::now();
  const CommandResult result = run_command(
      Command{.argv = {"sh", "-c", "sleep 100 & wait"}, .timeout = std::chrono::milliseconds(100)});
  EXPECT_TRUE(result.timed_out);
  EXPECT_EQ(result.exit_code, 128 + 9);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(RunCommand, AProgramThatDoesNotExistIs127) {
  EXPECT_EQ(run_command("platter-no-such-program").exit_code, 127);
  EXPECT_FALSE(have_program("platter-no-such-program"));
  EXPECT_TRUE(have_program("sh"));
}

}  // namespace
}  // namespace platter::test
