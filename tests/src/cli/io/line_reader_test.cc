#include "src/cli/io/line_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "io/ring.h"
#include "io/task_group.h"
#include "io/unique_fd.h"

namespace platter::cli {
namespace {

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe(ends.data()), 0);
    read_end = UniqueFd(ends[0]);
    write_end = UniqueFd(ends[1]);
  }
  void put(std::string_view text) const {
    EXPECT_EQ(::write(write_end.get(), text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
  }
  void end() { write_end = UniqueFd(); }
};

std::unique_ptr<Ring> make_ring() {
  Result<std::unique_ptr<Ring>> ring = Ring::create();
  EXPECT_TRUE(ring);
  return *std::move(ring);
}

Task<std::vector<std::string>> read_all(LineReader& reader) {
  std::vector<std::string> lines;
  while (std::optional<std::string> line = co_await reader.next()) lines.push_back(*line);
  co_return lines;
}

std::vector<std::string> lines_of(std::string_view text) {
  const std::unique_ptr<Ring> ring = make_ring();
  const StopEvent stop = *StopEvent::make();
  Pipe pipe;
  pipe.put(text);
  pipe.end();
  LineReader reader(pipe.read_end.get(), stop);
  Result<std::vector<std::string>> lines = ring->run(read_all(reader));
  EXPECT_TRUE(lines) << lines.error().message();
  return lines ? *lines : std::vector<std::string>{};
}

using Lines = std::vector<std::string>;

TEST(LineReader, HandsOutLinesWithoutTheirEnds) {
  EXPECT_EQ(lines_of("a b\n\nc\n"), (Lines{"a b", "", "c"}));
  EXPECT_EQ(lines_of("\n"), (Lines{""}));
  EXPECT_EQ(lines_of(""), Lines{});
}

TEST(LineReader, TheLastLineNeedsNoEnd) { EXPECT_EQ(lines_of("a\nb"), (Lines{"a", "b"})); }

TEST(LineReader, LongLinesAreWhole) {
  const std::string longer(20000, 'x');
  EXPECT_EQ(lines_of(longer + "\ny\n"), (Lines{longer, "y"}));
}

Task<void> wait_for_line(LineReader& reader, bool& done) {
  (void)co_await reader.next();
  done = true;
}

Task<void> tick(const Pipe& pipe, int& ticks) {
  for (; ticks < 3; ++ticks) co_await Ring::current().sleep(std::chrono::milliseconds(5));
  pipe.put("line\n");
}

Task<void> wait_and_tick(LineReader& reader, const Pipe& pipe, bool& done, int& ticks) {
  auto body = [&](TaskGroup& group) -> Task<void> {
    co_await group.spawn(wait_for_line(reader, done));
    co_await group.spawn(tick(pipe, ticks));
  };
  co_await with_group(2, body);
}

TEST(LineReader, OtherWorkGoesOnWhileALineIsAwaited) {
  const std::unique_ptr<Ring> ring = make_ring();
  const StopEvent stop = *StopEvent::make();
  const Pipe pipe;
  LineReader reader(pipe.read_end.get(), stop);
  bool done = false;
  int ticks = 0;
  EXPECT_TRUE(ring->run(wait_and_tick(reader, pipe, done, ticks)));
  EXPECT_TRUE(done);
  EXPECT_EQ(ticks, 3);
}

TEST(LineReader, ALineWithoutAnEndIsNotReadForEver) {
  const std::unique_ptr<Ring> ring = make_ring();
  const StopEvent stop = *StopEvent::make();
  const UniqueFd zeroes(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  LineReader reader(zeroes.get(), stop);
  const Result<std::optional<std::string>> line = ring->run(reader.next());
  ASSERT_FALSE(line);
  EXPECT_EQ(line.error().kind(), ErrorKind::too_large);
}

TEST(LineReader, AStopEndsTheWait) {
  const std::unique_ptr<Ring> ring = make_ring();
  const StopEvent stop = *StopEvent::make();
  const Pipe pipe;
  std::thread stopper([&stop] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    stop.stop();
  });
  LineReader reader(pipe.read_end.get(), stop);
  const Result<std::optional<std::string>> line = ring->run(reader.next());
  stopper.join();
  ASSERT_FALSE(line);
  EXPECT_EQ(line.error().kind(), ErrorKind::cancelled);
}

TEST(StopEvent, EndsWaitsThatBeginLaterToo) {
  const std::unique_ptr<Ring> ring = make_ring();
  const StopEvent stop = *StopEvent::make();
  EXPECT_TRUE(ring->run(stop.wait(-1, std::chrono::milliseconds(1))));
  stop.stop();
  for (int round = 0; round < 2; ++round) {
    const Result<void> waited = ring->run(stop.wait(-1, std::chrono::hours(1)));
    ASSERT_FALSE(waited);
    EXPECT_EQ(waited.error().kind(), ErrorKind::cancelled);
  }
}

}  // namespace
}  // namespace platter::cli
