// log_value.h, log_record.h, log_sink.h, log.h
#include "src/provision/log.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/temp_dir.h"

namespace platter::provision {
namespace {

using Json = nlohmann::json;

// What could hold a key, a token or somebody's file does not convert.
template <class T>
constexpr bool kCanBeLogged = std::is_constructible_v<LogValue, T>;
static_assert(!kCanBeLogged<std::string> && !kCanBeLogged<std::string&> &&
              !kCanBeLogged<const std::string&>);
static_assert(!kCanBeLogged<std::string_view> && !kCanBeLogged<const char*> &&
              !kCanBeLogged<char*>);
static_assert(!kCanBeLogged<KeyView> && !kCanBeLogged<std::vector<std::byte>&>);
static_assert(!kCanBeLogged<const void*> && !kCanBeLogged<void*> && !kCanBeLogged<std::byte*>);
static_assert(!kCanBeLogged<char> && !kCanBeLogged<std::nullptr_t>);
static_assert(!std::is_constructible_v<LogWord, std::string> &&
              !std::is_constructible_v<LogWord, const char*>);
// A path, a name and a URL must be said to be one.
static_assert(!std::is_convertible_v<std::string, LogPath> &&
              !std::is_convertible_v<std::string, LogName> &&
              !std::is_convertible_v<std::string, LogUrl>);
static_assert(kCanBeLogged<LogPath> && kCanBeLogged<LogName> && kCanBeLogged<LogUrl>);
static_assert(kCanBeLogged<int> && kCanBeLogged<std::uint64_t> && kCanBeLogged<bool>);

LogRecord record_with(std::vector<LogField> fields) {
  return {
      .time = std::chrono::system_clock::time_point(std::chrono::milliseconds(1'769'860'800'123)),
      .level = LogLevel::info,
      .operation = "00ff",
      .message = "fetched",
      .fields = std::move(fields)};
}

TEST(LogRecord, ReadsAsOneLineOfText) {
  const LogRecord record = record_with({{"bytes", 12},
                                        {"whole", true},
                                        {"source", LogPath("a b\"c\\")},
                                        {"waited_ms", std::chrono::microseconds(1500)},
                                        {"url", LogUrl("https://u:secret@h/p?secret")}});
  EXPECT_EQ(as_text(record),
            "2026-01-31T12:00:00.123Z info fetched op=00ff bytes=12 whole=true "
            "source=\"a b\\\"c\\\\\" waited_ms=1.500 url=https://h/p\n");
}

TEST(LogRecord, ReadsAsJson) {
  const std::string line =
      as_json(record_with({{"bytes", std::uint64_t{1} << 63}, {"path", LogPath("\xff\n\x1b[2J")}}));
  EXPECT_EQ(std::ranges::count(line, '\n'), 1);
  const Json object = Json::parse(line);
  EXPECT_EQ(object["time"], "2026-01-31T12:00:00.123Z");
  EXPECT_EQ(object["level"], "info");
  EXPECT_EQ(object["message"], "fetched");
  EXPECT_EQ(object["operation"], "00ff");
  EXPECT_EQ(object["bytes"], std::uint64_t{1} << 63);
  EXPECT_EQ(object["path"], "\xef\xbf\xbd\n\x1b[2J");
}

// A file's name can start no line of its own, and move no cursor.
TEST(LogRecord, ControlCharactersStayWithin) {
  const LogRecord record =
      record_with({{"path", LogPath("x\n2026 error forged\r\x1b[2J\x7f\xc2\x9b")}});
  for (const std::string& line : {as_text(record), as_json(record)}) {
    for (const char c : line.substr(0, line.size() - 1)) {
      EXPECT_TRUE(c >= ' ' && c < 0x7f) << static_cast<int>(c);
    }
  }
  // One field of the journal, length first.
  const std::string journal = as_journal(record);
  EXPECT_EQ(journal.find("\nPLATTER_PATH="), std::string::npos);
  const std::size_t at = journal.find("PLATTER_PATH\n");
  ASSERT_NE(at, std::string::npos);
  const std::size_t size = static_cast<unsigned char>(journal[at + 13]);
  EXPECT_EQ(journal.substr(at + 14, 7), std::string(7, '\0'));
  EXPECT_EQ(journal.substr(at + 21 + size), "\n");
}

TEST(LogRecord, ValuesAreBounded) {
  const LogRecord record = record_with({{"path", LogPath(std::string(1'000'000, 'x'))}});
  EXPECT_LT(as_text(record).size(), 5000U);
  EXPECT_LT(as_json(record).size(), 5000U);
  EXPECT_LT(as_journal(record).size(), 10'000U);
}

TEST(LogRecord, AnErrorThatTellsAUrlIsCut) {
  const Error error(ErrorKind::io, "could not get 'https://u:secret@h/x?token=secret': Not found");
  for (const std::string& line :
       {as_text(record_with({{"error", error}})), as_json(record_with({{"error", error}})),
        as_journal(record_with({{"error", error}}))}) {
    EXPECT_EQ(line.find("secret"), std::string::npos) << line;
    EXPECT_NE(line.find("could not get"), std::string::npos);
  }
}

TEST(LogName, KeepsNothingButNames) {
  EXPECT_EQ(LogName("0a1b-2c:disk.config").text, "0a1b-2c:disk.config");
  EXPECT_EQ(LogName("x\ny z=\"/\\").text, "xyz");
  EXPECT_EQ(LogName(std::string(300, 'x')).text.size(), 255U);
}

// --- sinks, the log, operations ---

class MemorySink final : public LogSink {
 public:
  explicit MemorySink(std::vector<std::string>& lines) : lines_(lines) {}
  Result<void> write(const LogRecord& record) override {
    if (broken) return fail(ErrorKind::io, "broken");
    lines_.push_back(as_json(record));
    return {};
  }
  bool broken = false;

 private:
  std::vector<std::string>& lines_;
};

class LogLines : public testing::Test {
 protected:
  Json line(std::size_t index) const { return Json::parse(lines_.at(index)); }

  std::vector<std::string> lines_;
  MemorySink* sink_ = new MemorySink(lines_);  // the log's
  Log log_{std::unique_ptr<LogSink>(sink_), LogLevel::debug};
};

TEST_F(LogLines, AnOperationsRecordsShareItsId) {
  {
    OperationLog operation(&log_, "fetch", {{"source", LogPath("a")}});
    operation.note(LogLevel::info, "resumed", {{"offset", 5}});
    operation.add_bytes(3);
    operation.add_bytes(4);
    operation.finish({});
  }
  ASSERT_EQ(lines_.size(), 3U);
  const std::string id = line(0)["operation"];
  EXPECT_EQ(id.size(), 16U);
  EXPECT_EQ(line(0)["message"], "begun");
  EXPECT_EQ(line(0)["source"], "a");
  EXPECT_EQ(line(1)["operation"], id);
  EXPECT_EQ(line(1)["offset"], 5);
  EXPECT_EQ(line(2)["operation"], id);
  EXPECT_EQ(line(2)["message"], "done");
  EXPECT_EQ(line(2)["bytes"], 7);
  EXPECT_GE(line(2)["duration_ms"].get<double>(), 0);
  EXPECT_NE(OperationLog(nullptr, "other").id(), id);
}

TEST_F(LogLines, AFailureTellsKindAndReason) {
  OperationLog operation(&log_, "fetch");
  operation.finish(fail(ErrorKind::timed_out, "'https://u:secret@h/' took too long"));
  EXPECT_EQ(line(1)["level"], "error");
  EXPECT_EQ(line(1)["kind"], "timed_out");
  EXPECT_EQ(line(1)["error"].get<std::string>().find("secret"), std::string::npos);
}

TEST_F(LogLines, WhatIsNotFinishedIsAbandoned) {
  {
    const OperationLog operation(&log_, "fetch");
  }
  EXPECT_EQ(line(1)["message"], "abandoned");
  EXPECT_EQ(line(1)["level"], "warning");
}

TEST_F(LogLines, LostRecordsAreCounted) {
  sink_->broken = true;
  log_.write(LogLevel::info, "one");
  log_.write(LogLevel::info, "two");
  EXPECT_EQ(log_.lost(), 2U);
  sink_->broken = false;
  log_.write(LogLevel::info, "three");
  log_.write(LogLevel::info, "four");
  ASSERT_EQ(lines_.size(), 2U);
  EXPECT_EQ(line(0)["lost"], 2);
  EXPECT_FALSE(line(1).contains("lost"));
}

TEST(LogDescriptor, LowerLevelsAreDropped) {
  const test::TempDir folder;
  const UniqueFd file(::open((folder / "log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  Log log(descriptor_sink(file.get(), LogFormat::text), LogLevel::warning);
  log.write(LogLevel::info, "unheard");
  log.write(LogLevel::warning, "heard");
  std::stringstream text;
  text << std::ifstream(folder / "log").rdbuf();
  EXPECT_EQ(text.str().substr(24), " warning heard\n");
}

TEST(LogDescriptor, ThreadsDoNotMixTheirLines) {
  const test::TempDir folder;
  const UniqueFd file(
      ::open((folder / "log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  Log log(descriptor_sink(file.get(), LogFormat::json));
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&log, thread] {
        for (int count = 0; count < 500; ++count)
          log.write(LogLevel::info, "x", {{"thread", thread}});
      });
    }
  }
  std::ifstream lines(folder / "log");
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count)
    EXPECT_TRUE(Json::accept(line)) << line;
  EXPECT_EQ(count, 2000);
}

TEST(LogDescriptor, AFullDeviceIsAnError) {
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(descriptor_sink(full.get(), LogFormat::text)->write(record_with({})).error().kind(),
            ErrorKind::no_space);
}

TEST(LogJournal, SpeaksItsProtocol) {
  const test::TempDir folder;
  const std::string path = folder / "socket";
  EXPECT_EQ(journal_sink(path).error().kind(), ErrorKind::not_found);
  const UniqueFd server(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const auto sink = journal_sink(path).value();
  ASSERT_TRUE(sink->write(record_with({{"bytes", 7}, {"path", LogPath("a\nb")}})));
  std::string datagram(10'000, '\0');
  datagram.resize(
      static_cast<std::size_t>(::recv(server.get(), datagram.data(), datagram.size(), 0)));
  EXPECT_EQ(datagram, std::string("MESSAGE=fetched bytes=7 path=\"a\\x0ab\"\nPRIORITY=6\n"
                                  "SYSLOG_IDENTIFIER=platter\nPLATTER_OPERATION=00ff\n"
                                  "PLATTER_BYTES=7\nPLATTER_PATH\n\x03") +
                          std::string(7, '\0') + "a\nb\n");
}

TEST(LogJournal, OneThatDoesNotReadIsNotWaitedFor) {
  const test::TempDir folder;
  const std::string path = folder / "socket";
  const UniqueFd server(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const auto sink = journal_sink(path).value();
  bool refused = false;
  for (int count = 0; count < 10'000 && !refused; ++count) refused = !sink->write(record_with({}));
  EXPECT_TRUE(refused);
}

}  // namespace
}  // namespace platter::provision
