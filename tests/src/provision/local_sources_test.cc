// Templates from files and pipes: file_source.h, descriptor_source.h, fetch_sink.h.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "crypto/digest.h"
#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "src/provision/descriptor_source.h"
#include "src/provision/fetch_sink.h"
#include "src/provision/file_source.h"
#include "tests/support/faulty_file.h"
#include "tests/support/temp_dir.h"

namespace platter::provision {
namespace {

// Data, 3 MiB of zeroes, data, and an end that is no multiple of anything.
std::string sample() {
  std::string text(5 * kMiB + 4321, '\0');
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (at < kMiB || at >= 4 * kMiB) text[at] = static_cast<char>(1 + at % 251);
  }
  return text;
}

ExpectedDigest digest_of(const std::string& text, const std::string& algorithm) {
  Digest digest = Digest::create(algorithm).value();
  EXPECT_TRUE(digest.update(std::as_bytes(std::span(text))));
  return {algorithm, hex_text(digest.finish().value())};
}

class LocalSources : public testing::Test {
 protected:
  // A fetch that ends early leaves the writer alone.
  void SetUp() override { std::signal(SIGPIPE, SIG_IGN); }

  std::string content(File& file) {
    std::string text(ring_->run(file.size()).value(), 'x');
    EXPECT_TRUE(ring_->run(read_exactly(file, 0, std::as_writable_bytes(std::span(text)))));
    return text;
  }
  std::string file_with(const std::string& text) {
    const std::string path = folder_ / "template";
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  std::unique_ptr<TemplateSource> pipe_with(const std::string& text) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    writer_ = std::jthread([text, fd = ends[1]] {
      for (std::size_t at = 0; at < text.size();) {
        const ssize_t count = ::write(fd, text.data() + at, text.size() - at);
        if (count <= 0) break;
        at += static_cast<std::size_t>(count);
      }
      ::close(fd);
    });
    return descriptor_source(UniqueFd(ends[0]), "the pipe").value();
  }
  ErrorKind kind_of(TemplateSource& source, FetchOptions options) {
    MemoryFile target;
    const auto fetched = ring_->run(source.fetch(target, std::move(options)));
    EXPECT_FALSE(fetched);
    if (fetched) return ErrorKind::io;
    message_ = fetched.error().message();
    return fetched.error().kind();
  }

  test::TempDir folder_;
  std::unique_ptr<Ring> ring_ = Ring::create().value();
  std::string message_;
  std::jthread writer_;
};

TEST_F(LocalSources, BytesArriveAndZeroesTakeNoSpace) {
  const std::string text = sample();
  std::vector<std::unique_ptr<TemplateSource>> sources;
  sources.push_back(file_source(file_with(text)));
  sources.push_back(pipe_with(text));
  for (const auto& source : sources) {
    MemoryFile target("target", 7 * kMiB);  // longer than what comes
    Progress progress;
    FetchOptions options{.progress = &progress};
    options.limits.digest = digest_of(text, "sha512");
    const FetchResult result = ring_->run(source->fetch(target, std::move(options))).value();
    EXPECT_EQ(result.size, text.size());
    EXPECT_EQ(result.digest, digest_of(text, "sha512").hex);
    EXPECT_TRUE(content(target) == text);
    EXPECT_LE(target.allocated(), 2 * kMiB + 2 * MemoryFile::kChunkSize);
    EXPECT_EQ(progress.done(), text.size());
    EXPECT_EQ(ring_->buffers().in_use(), 0U);
  }
}

TEST_F(LocalSources, OldContentsOfTheTargetDoNotShowThroughZeroes) {
  const std::string text = sample();
  MemoryFile target;
  const std::string old(8 * kMiB, 'o');
  ASSERT_TRUE(ring_->run(target.write(0, std::as_bytes(std::span(old)))));
  ASSERT_TRUE(ring_->run(file_source(file_with(text))->fetch(target, {})));
  EXPECT_TRUE(content(target) == text);
}

TEST_F(LocalSources, AWrongDigestIsAnErrorThatNamesBoth) {
  FetchOptions options;
  options.limits.digest = digest_of("something else", "sha256");
  const auto source = file_source(file_with(sample()));
  EXPECT_EQ(kind_of(*source, std::move(options)), ErrorKind::wrong_digest);
  EXPECT_NE(message_.find(digest_of(sample(), "sha256").hex), std::string::npos);
  EXPECT_NE(message_.find(digest_of("something else", "sha256").hex), std::string::npos);
  EXPECT_NE(message_.find("'" + source->name() + "'"), std::string::npos);
}

TEST_F(LocalSources, TooMuchIsRefused) {
  const std::string text = sample();
  FetchOptions options;
  options.limits.size_max = text.size() - 1;
  EXPECT_EQ(kind_of(*file_source(file_with(text)), options), ErrorKind::too_large);
  EXPECT_EQ(kind_of(*pipe_with(text), options), ErrorKind::too_large);
  EXPECT_EQ(message_, "'the pipe' is larger than " + std::to_string(text.size() - 1) +
                          " bytes, which is the limit");
}

TEST_F(LocalSources, ASizeThatIsJustAllowedIsFetched) {
  const std::string text = sample();
  FetchOptions options;
  options.limits.size_max = text.size();
  MemoryFile target;
  EXPECT_TRUE(ring_->run(pipe_with(text)->fetch(target, std::move(options))));
}

TEST_F(LocalSources, APipeIsReadOnce) {
  const auto source = pipe_with("abc");
  MemoryFile target;
  ASSERT_TRUE(ring_->run(source->fetch(target, {})));
  EXPECT_EQ(kind_of(*source, {}), ErrorKind::invalid_argument);
  EXPECT_EQ(content(target), "abc");
}

TEST_F(LocalSources, FilesCanBeOpenedInPlaceAndPipesCannot) {
  EXPECT_EQ(file_source("/a/b")->local_path(), "/a/b");
  EXPECT_FALSE(pipe_with("")->local_path());
}

TEST_F(LocalSources, WhatIsNoFileIsRefused) {
  EXPECT_EQ(kind_of(*file_source(folder_ / "nothing"), {}), ErrorKind::not_found);
  EXPECT_EQ(kind_of(*file_source(folder_.path()), {}), ErrorKind::wrong_type);
  EXPECT_EQ(kind_of(*file_source("/dev/null"), {}), ErrorKind::wrong_type);
  UniqueFd directory(::open(folder_.path().c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(descriptor_source(std::move(directory), "fd").error().kind(), ErrorKind::wrong_type);
}

TEST_F(LocalSources, ACancelledFetchEnds) {
  CancelToken cancel;
  cancel.request();
  EXPECT_EQ(kind_of(*pipe_with(sample()), {.cancel = &cancel}), ErrorKind::cancelled);
}

// --- FetchSink itself: going on where another fetch ended ---

class SinkResume : public LocalSources {
 protected:
  // Brings `text` from `at` on, `step` bytes at a time.
  static FetchSink::Read reader(const std::string& text, std::size_t& at, std::size_t step) {
    return [&text, &at, step](std::span<std::byte> into) -> Task<std::size_t> {
      const std::size_t count = std::min({into.size(), step, text.size() - at});
      std::ranges::copy(std::as_bytes(std::span(text)).subspan(at, count), into.begin());
      at += count;
      co_return count;
    };
  }
};

TEST_F(SinkResume, TheDigestCoversWhatWasThere) {
  const std::string text = sample();
  for (const std::size_t had :
       {std::size_t{1}, std::size_t{4097}, std::size_t{2 * kMiB}, text.size()}) {
    MemoryFile target;
    const std::string partial = text.substr(0, had) + "left over";
    ASSERT_TRUE(ring_->run(target.write(0, std::as_bytes(std::span(partial)))));
    FetchOptions options;
    options.limits.digest = digest_of(text, "sha256");
    FetchSink sink(target, options, "source");
    ASSERT_TRUE(ring_->run(sink.begin(had)));
    std::size_t at = had;
    ASSERT_TRUE(ring_->run(sink.take(reader(text, at, 100'000))));
    const FetchResult result = ring_->run(sink.finish()).value();
    EXPECT_EQ(result.resumed, had);
    EXPECT_TRUE(content(target) == text) << had;
  }
}

TEST_F(SinkResume, AResumePointBehindTheTargetsEndIsRefused) {
  MemoryFile target("target", 100);
  const FetchOptions options;
  FetchSink sink(target, options, "source");
  EXPECT_EQ(ring_->run(sink.begin(101)).error().kind(), ErrorKind::not_found);
  EXPECT_EQ(ring_->run(target.size()).value(), 100U);
}

TEST_F(SinkResume, AnErrorOfTheReaderLeavesWhatCameBefore) {
  const std::string text = sample();
  MemoryFile target;
  const FetchOptions options;
  FetchSink sink(target, options, "source");
  ASSERT_TRUE(ring_->run(sink.begin(0)));
  std::size_t at = 0;
  const FetchSink::Read whole = reader(text, at, 300'000);
  const FetchSink::Read broken = [&](std::span<std::byte> into) -> Task<std::size_t> {
    if (at >= 2 * kMiB) co_return fail(ErrorKind::io, "the line is dead");
    co_return co_await whole(into);
  };
  EXPECT_EQ(ring_->run(sink.take(broken)).error().message(), "the line is dead");
  EXPECT_EQ(sink.offset(), at);
  ASSERT_TRUE(ring_->run(sink.take(whole)));
  ASSERT_TRUE(ring_->run(sink.finish()));
  EXPECT_TRUE(content(target) == text);
}

}  // namespace
}  // namespace platter::provision
