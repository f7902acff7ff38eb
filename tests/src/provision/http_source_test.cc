#include "src/provision/http_source.h"

#include <sys/stat.h>

#include <fstream>
#include <memory>
#include <optional>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "crypto/digest.h"
#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "tests/support/http_server.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::provision {
namespace {

using Json = nlohmann::json;
using test::HttpServer;
using test::TempDir;

std::string sample() {
  std::string text(1'234'567, '\0');
  for (std::size_t at = 0; at < text.size(); ++at) text[at] = static_cast<char>(1 + at * 7 % 251);
  text.replace(200'000, 300'000, 300'000, '\0');
  return text;
}

ExpectedDigest sha256_of(const std::string& text) {
  Digest digest = Digest::create("sha256").value();
  EXPECT_TRUE(digest.update(std::as_bytes(std::span(text))));
  return {"sha256", hex_text(digest.finish().value())};
}

class HttpTemplates : public testing::Test {
 protected:
  HttpTemplates() {
    std::ofstream(folder_ / "content", std::ios::binary) << text_;
    server_.emplace(folder_ / "content");
    options_.limits.connect_timeout = std::chrono::seconds(5);
    options_.limits.stall_timeout = std::chrono::seconds(5);
  }
  void SetUp() override { ASSERT_NE(server_->port(), 0); }

  Result<FetchResult> fetch(const std::string& url, MemoryFile& target, HttpOptions http = {}) {
    auto source = http_source(url, std::move(http));
    if (!source) return fail(std::move(source.error()));
    auto fetched = ring_->run((*source)->fetch(target, options_));
    EXPECT_EQ(ring_->buffers().in_use(), 0U);
    return fetched;
  }
  // The whole content arrives, its digest right.
  FetchResult expect_whole(const std::string& path) {
    MemoryFile target;
    options_.limits.digest = sha256_of(text_);
    const auto fetched = fetch(server_->url(path), target);
    EXPECT_TRUE(fetched) << fetched.error().message();
    EXPECT_TRUE(content(target) == text_);
    return fetched.value_or(FetchResult{});
  }
  // No message tells what is secret.
  void expect_error(const std::string& url, ErrorKind kind, const std::string& words) {
    MemoryFile target;
    const auto fetched = fetch(url, target);
    ASSERT_FALSE(fetched) << url;
    EXPECT_EQ(fetched.error().kind(), kind) << fetched.error().message();
    EXPECT_NE(fetched.error().message().find(words), std::string::npos)
        << fetched.error().message();
    EXPECT_EQ(fetched.error().message().find("secret"), std::string::npos)
        << fetched.error().message();
  }
  std::string content(File& file) {
    std::string text(ring_->run(file.size()).value(), 'x');
    EXPECT_TRUE(ring_->run(read_exactly(file, 0, std::as_writable_bytes(std::span(text)))));
    return text;
  }
  // What was asked for, with its headers.
  Json requests(const HttpServer& server) {
    MemoryFile target;
    options_ = {};
    EXPECT_TRUE(fetch(server.url("/log"), target));
    Json log = Json::parse(content(target));
    log.erase(log.size() - 1);
    return log;
  }

  TempDir folder_;
  std::string text_ = sample();
  std::optional<HttpServer> server_;
  std::unique_ptr<Ring> ring_ = Ring::create().value();
  FetchOptions options_;
};

TEST_F(HttpTemplates, BytesArrive) {
  Progress progress;
  options_.progress = &progress;
  EXPECT_EQ(expect_whole("/whole").size, text_.size());
  EXPECT_EQ(progress.done(), text_.size());
  EXPECT_EQ(progress.total(), text_.size());
}

TEST_F(HttpTemplates, AConnectionThatBreaksIsMadeAgainFromThere) {
  options_.limits.tries = 2;  // in a row, without a byte
  expect_whole("/cut");
  const Json log = requests(*server_);
  ASSERT_EQ(log.size(), 5U);  // 1,234,567 bytes, 300,000 each time
  EXPECT_FALSE(log[0][1].contains("Range"));
  EXPECT_EQ(log[1][1]["Range"], "bytes=300000-");
  EXPECT_EQ(log[4][1]["Range"], "bytes=1200000-");
}

TEST_F(HttpTemplates, WithoutAVersionAllComesAnew) {
  expect_whole("/cut-no-etag");
  expect_whole("/cut-weak");
  for (const auto& request : requests(*server_)) EXPECT_FALSE(request[1].contains("Range"));
}

TEST_F(HttpTemplates, AnotherVersionComesAnew) {
  std::vector<std::string> validators;
  options_.on_validator = [&](const std::string& validator) -> Result<void> {
    validators.push_back(validator);
    return {};
  };
  expect_whole("/cut-changed");
  ASSERT_EQ(validators.size(), 2U);
  EXPECT_EQ(validators[0], "\"old\"");
  EXPECT_NE(validators[1], validators[0]);
}

TEST_F(HttpTemplates, ARangeThatWasNotAskedForIsNotTaken) { expect_whole("/wrong-range"); }

TEST_F(HttpTemplates, ABusyServerIsAskedAgain) { expect_whole("/busy"); }

TEST_F(HttpTemplates, ADeadOneIsGivenUp) {
  options_.limits.tries = 3;
  expect_error(server_->url("/dead"), ErrorKind::io, "could not get");
  EXPECT_EQ(requests(*server_).size(), 3U);
}

TEST_F(HttpTemplates, AnotherProcessGoesOn) {
  std::string validator;
  options_.on_validator = [&](const std::string& text) -> Result<void> {
    validator = text;
    return {};
  };
  expect_whole("/whole");
  for (const std::size_t had : {std::size_t{1}, std::size_t{300'000}, text_.size()}) {
    MemoryFile target;
    const std::string partial = text_.substr(0, had) + "more";
    ASSERT_TRUE(ring_->run(target.write(0, std::as_bytes(std::span(partial)))));
    options_.resume = {.bytes = had, .validator = validator};
    const auto fetched = fetch(server_->url("/whole"), target);
    ASSERT_TRUE(fetched) << fetched.error().message();
    EXPECT_EQ(fetched->resumed, had);
    EXPECT_TRUE(content(target) == text_);
  }
}

TEST_F(HttpTemplates, ADamagedPartIsFetchedOnceMore) {
  options_.limits.digest = sha256_of(text_);
  std::string validator;
  options_.on_validator = [&](const std::string& text) -> Result<void> {
    validator = text;
    return {};
  };
  expect_whole("/whole");
  MemoryFile target;
  const std::string damaged(500'000, 'd');
  ASSERT_TRUE(ring_->run(target.write(0, std::as_bytes(std::span(damaged)))));
  options_.resume = {.bytes = damaged.size(), .validator = validator};
  const auto fetched = fetch(server_->url("/whole"), target);
  ASSERT_TRUE(fetched) << fetched.error().message();
  EXPECT_EQ(fetched->resumed, 0U);
  EXPECT_TRUE(content(target) == text_);
}

TEST_F(HttpTemplates, APartThatIsNotThereComesAnew) {
  MemoryFile target;
  options_.resume = {.bytes = 1000, .validator = "\"x\""};
  ASSERT_TRUE(fetch(server_->url("/whole"), target));
  EXPECT_TRUE(content(target) == text_);
}

TEST_F(HttpTemplates, AWrongDigestIsTold) {
  options_.limits.digest = sha256_of("other");
  expect_error(server_->url("/whole"), ErrorKind::wrong_digest, sha256_of(text_).hex);
}

TEST_F(HttpTemplates, TooMuchIsRefusedBeforeItComes) {
  options_.limits.size_max = text_.size() - 1;
  bool asked = false;
  options_.on_validator = [&](const std::string&) -> Result<void> {
    asked = true;
    return {};
  };
  expect_error(server_->url("/whole"), ErrorKind::too_large, "the limit");
  EXPECT_FALSE(asked);
}

TEST_F(HttpTemplates, ALengthThatIsNotToldIsCounted) {
  options_.limits.size_max = 3 * kMiB;
  expect_error(server_->url("/endless"), ErrorKind::too_large, "the limit");
}

TEST_F(HttpTemplates, RedirectsAreFollowedToServersAlone) {
  expect_whole("/to-whole");
  options_ = {};
  expect_error(server_->url("/loop"), ErrorKind::refused_by_policy, "more than 5 times");
  expect_error(server_->url("/to-file"), ErrorKind::refused_by_policy, "neither http nor https");
  expect_error(server_->url("/to-gopher"), ErrorKind::refused_by_policy, "neither http nor https");
  expect_error(server_->url("/to-nothing"), ErrorKind::refused_by_policy, "neither http nor https");
}

TEST_F(HttpTemplates, ASlowServerIsNotWaitedForForever) {
  options_.limits.stall_timeout = std::chrono::milliseconds(300);
  options_.limits.tries = 1;
  expect_error(server_->url("/silent"), ErrorKind::timed_out, "nothing came for 300 ms");
  expect_error(server_->url("/slow"), ErrorKind::timed_out, "nothing came for 300 ms");
}

TEST_F(HttpTemplates, StatusesAreErrors) {
  expect_error(server_->url("/forbidden?secret"), ErrorKind::permission, "status 403");
  expect_error(server_->url("/nowhere"), ErrorKind::not_found, "status 404");
}

TEST_F(HttpTemplates, NoErrorTellsTheUrlsSecrets) {
  const std::string host = "127.0.0.1:" + std::to_string(server_->port());
  expect_error("http://user:secret@" + host + "/nowhere?token=secret#secret", ErrorKind::not_found,
               "'http://" + host + "/nowhere'");
  options_.limits.tries = 1;
  expect_error("http://user:secret@127.0.0.1:1/x?secret", ErrorKind::io, "'http://127.0.0.1:1/x'");
}

TEST_F(HttpTemplates, OtherSchemesAreRefused) {
  for (const char* url : {"ftp://127.0.0.1/", "file:///etc/passwd", "http:///", "nothing", ""}) {
    EXPECT_EQ(http_source(url, {}).error().kind(), ErrorKind::invalid_argument) << url;
  }
}

TEST_F(HttpTemplates, ACancelledFetchEnds) {
  CancelToken cancel;
  cancel.request();
  options_.cancel = &cancel;
  expect_error(server_->url("/silent"), ErrorKind::cancelled, "cancelled");
}

// --- headers ---

TEST_F(HttpTemplates, HeadersGoToTheServerThatWasNamedAlone) {
  HttpServer other(folder_ / "content");
  MemoryFile target;
  HttpOptions http{.headers = HttpHeaders::parse("X-Auth-Token: secret\n", "x").value()};
  const std::string path = "/to/" + std::to_string(other.port());
  ASSERT_TRUE(fetch(server_->url(path), target, std::move(http)));
  EXPECT_EQ(requests(*server_)[0][1]["X-Auth-Token"], "secret");
  EXPECT_FALSE(requests(other)[0][1].contains("X-Auth-Token"));
}

TEST_F(HttpTemplates, AFileOfHeadersIsForItsOwnerAlone) {
  const std::string file = folder_ / "headers";
  std::ofstream(file) << "# comment\n\nAuthorization: Bearer secret\r\nX-A: b\n";
  ::chmod(file.c_str(), 0644);
  EXPECT_EQ(HttpHeaders::read(file).error().kind(), ErrorKind::permission);
  ::chmod(file.c_str(), 0600);
  const HttpHeaders headers = HttpHeaders::read(file).value();
  EXPECT_EQ(headers.lines(), (std::vector<std::string>{"Authorization: Bearer secret", "X-A: b"}));
  EXPECT_EQ(HttpHeaders::read(folder_ / "none").error().kind(), ErrorKind::not_found);
  EXPECT_EQ(HttpHeaders::read(folder_.path()).error().kind(), ErrorKind::wrong_type);
}

TEST_F(HttpTemplates, WhatIsNoHeaderIsNotShown) {
  for (const std::string& text :
       {std::string("secret"), std::string("X: a\nsecret b: c"), std::string("X: secret\x01"),
        std::string(": secret"), std::string("X: secret\rY: z")}) {
    const auto headers = HttpHeaders::parse(text, "file");
    ASSERT_FALSE(headers) << text;
    EXPECT_EQ(headers.error().message().find("secret"), std::string::npos);
  }
}

// --- TLS ---

class HttpsTemplates : public HttpTemplates {
 protected:
  void SetUp() override {
    if (!test::have_program("openssl")) GTEST_SKIP() << "needs openssl";
    const std::string key = folder_ / "key";
    certificate_ = folder_ / "certificate";
    ASSERT_TRUE(test::run_command("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
                                  "-keyout", key, "-out", certificate_, "-days", "2", "-subj",
                                  "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
                    .ok());
    server_.emplace(folder_ / "content", std::vector<std::string>{certificate_, key});
    ASSERT_NE(server_->port(), 0);
    options_.limits.tries = 1;
  }
  std::string url(const std::string& path, const std::string& host = "localhost") const {
    return "https://" + host + ":" + std::to_string(server_->port()) + path;
  }
  Result<FetchResult> fetch_trusting(const std::string& from) {
    MemoryFile target;
    return fetch(from, target, HttpOptions{.ca_file = certificate_});
  }
  std::string certificate_;
};

TEST_F(HttpsTemplates, ATrustedServerIsRead) {
  EXPECT_EQ(fetch_trusting(url("/whole")).value().size, text_.size());
}

TEST_F(HttpsTemplates, AnUntrustedOneIsRefused) {
  expect_error(url("/whole?secret"), ErrorKind::permission, "certificate");
}

TEST_F(HttpsTemplates, SoIsOneWithAnotherName) {
  const auto fetched = fetch_trusting(url("/whole", "127.0.0.1"));
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().kind(), ErrorKind::permission) << fetched.error().message();
}

TEST_F(HttpsTemplates, NoRedirectLeadsOutOfEncryption) {
  const auto fetched = fetch_trusting(url("/to-http"));
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().kind(), ErrorKind::refused_by_policy);
  EXPECT_NE(fetched.error().message().find("nothing is encrypted"), std::string::npos);
  EXPECT_EQ(fetched.error().message().find("?secret"), std::string::npos);
}

}  // namespace
}  // namespace platter::provision
