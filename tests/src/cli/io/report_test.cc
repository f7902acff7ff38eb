#include "src/cli/io/report.h"

#include <array>

#include <gtest/gtest.h>

namespace platter::cli {
namespace {

using namespace std::chrono_literals;

TEST(Report, TellsWhatWasDoneInWhichTime) {
  EXPECT_EQ(report_text({.operation = "wrote", .offset = 512, .length = 4096, .time = 500ms}),
            "wrote 4096/4096 bytes at offset 512\n"
            "4 KiB, 1 ops; 00.50 sec (8 KiB/sec and 2.0000 ops/sec)\n");
  EXPECT_EQ(report_text({.operation = "read", .length = 60, .time = 62'345ms}),
            "read 60/60 bytes at offset 0\n"
            "60 bytes, 1 ops; 1:02.34 (0.962387 bytes/sec and 0.0160 ops/sec)\n");
}

TEST(Report, ForProgramsIsOneLineOfNumbers) {
  EXPECT_EQ(
      report_text(
          {.operation = "read", .length = 1024, .time = 3'725s + 250ms, .machine_readable = true}),
      "1024,1,1:02:05.25,0.275,0.000\n");
}

TEST(Report, NoTimeAtAllIsNoInfiniteRate) {
  const std::string text = report_text({.operation = "read", .length = 0, .time = 0ns});
  EXPECT_EQ(text.find("inf"), text.npos) << text;
  EXPECT_EQ(text.find("nan"), text.npos) << text;
}

TEST(Dump, ShowsSixteenBytesInALine) {
  std::array<std::byte, 18> bytes{};
  bytes[0] = std::byte{'A'};
  bytes[1] = std::byte{' '};
  bytes[2] = std::byte{0xc1};
  bytes[17] = std::byte{'9'};
  EXPECT_EQ(dump_text(0xffffffff, bytes),
            "ffffffff:  41 20 c1 00 00 00 00 00 00 00 00 00 00 00 00 00  A...............\n"
            "10000000f:  00 39  .9\n");
  EXPECT_EQ(dump_text(0, {}), "");
}

}  // namespace
}  // namespace platter::cli
