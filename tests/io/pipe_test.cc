#include "io/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "io/ring.h"

namespace platter::test {
namespace {

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};
Pipe make_pipe() {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

class PipeTest : public testing::TestWithParam<RingEngineKind> {
 protected:
  void SetUp() override {
    auto made = Ring::create({.engine = GetParam()});
    if (!made) GTEST_SKIP() << made.error().message();
    ring_ = *std::move(made);
  }
  std::unique_ptr<Ring> ring_;
  CancelToken cancel_;
};

TEST_P(PipeTest, PiecesAreReadUntilTheBufferIsFullOrTheOtherSideIsDone) {
  Pipe pipe = make_pipe();
  std::jthread writer([fd = pipe.write_end.get(), &pipe] {
    for (const char* piece : {"ab", "cd", "e"}) {
      EXPECT_GT(::write(fd, piece, std::char_traits<char>::length(piece)), 0);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    UniqueFd closed = std::move(pipe.write_end);
  });
  const auto reader = *PipeReader::make(std::move(pipe.read_end), "pipe");
  std::string text(4, ' ');
  EXPECT_EQ(*ring_->run(reader->read(std::as_writable_bytes(std::span(text)), nullptr)), 4U);
  EXPECT_EQ(text, "abcd");
  EXPECT_EQ(*ring_->run(reader->read(std::as_writable_bytes(std::span(text)), nullptr)), 1U);
  EXPECT_EQ(text[0], 'e');
  EXPECT_EQ(*ring_->run(reader->read(std::as_writable_bytes(std::span(text)), nullptr)), 0U);
}

TEST_P(PipeTest, AWaitIsEndedByACancellation) {
  Pipe silent = make_pipe();
  const auto reader = *PipeReader::make(std::move(silent.read_end), "pipe");
  cancel_.request();
  std::byte byte{};
  EXPECT_EQ(ring_->run(reader->read({&byte, 1}, &cancel_)).error().kind(), ErrorKind::cancelled);
}

TEST_P(PipeTest, MoreThanAPipeHoldsIsWritten) {
  Pipe pipe = make_pipe();
  std::vector<std::byte> data(5'000'000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i / 4096);
  std::vector<std::byte> seen;
  std::jthread reader([fd = pipe.read_end.get(), &seen] {
    std::vector<std::byte> piece(70'000);
    for (ssize_t count = 0; (count = ::read(fd, piece.data(), piece.size())) > 0;) {
      seen.insert(seen.end(), piece.begin(), piece.begin() + count);
    }
  });
  auto writer = *PipeWriter::make(std::move(pipe.write_end), "pipe");
  EXPECT_TRUE(ring_->run(writer->write(data, nullptr)));
  EXPECT_TRUE(ring_->run(writer->finish()));
  writer.reset();
  reader.join();
  EXPECT_EQ(seen, data);
}

TEST_P(PipeTest, AReaderThatIsGoneIsAnError) {
  Pipe pipe = make_pipe();
  const auto writer = *PipeWriter::make(std::move(pipe.write_end), "out");
  pipe.read_end = UniqueFd();
  const std::vector<std::byte> data(100);
  const Result<void> written = ring_->run(writer->write(data, nullptr));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().os_error(), EPIPE);
  EXPECT_EQ(written.error().message(), "Could not write 'out': Broken pipe");
}

TEST_P(PipeTest, TheShellsDescriptorStaysAsItWas) {
  Pipe pipe = make_pipe();
  const int own = ::dup(pipe.write_end.get());
  const auto writer = *PipeWriter::make(std::move(pipe.write_end), "out");
  EXPECT_EQ(::fcntl(own, F_GETFL) & O_NONBLOCK, 0);
  ::close(own);
}

TEST_P(PipeTest, ATerminalAndAFolderAreRefused) {
  const UniqueFd terminal(::posix_openpt(O_RDWR | O_NOCTTY));
  ASSERT_TRUE(terminal);
  ASSERT_EQ(::unlockpt(terminal.get()), 0);
  const UniqueFd side(::open(::ptsname(terminal.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(side);
  EXPECT_EQ(PipeWriter::make(UniqueFd(::dup(side.get())), "-").error().kind(),
            ErrorKind::wrong_type);
  EXPECT_EQ(PipeReader::make(UniqueFd(::dup(side.get())), "-").error().kind(),
            ErrorKind::wrong_type);
  EXPECT_EQ(PipeReader::make(UniqueFd(::open("/", O_RDONLY | O_CLOEXEC)), "/").error().kind(),
            ErrorKind::wrong_type);
}

INSTANTIATE_TEST_SUITE_P(Engines, PipeTest,
                         testing::Values(RingEngineKind::automatic, RingEngineKind::threads));

}  // namespace
}  // namespace platter::test
