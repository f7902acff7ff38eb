// Folders, sources and requests for the tests of whole backends.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/ring.h"
#include "src/ops/create.h"
#include "src/provision/flat_backend.h"
#include "src/provision/image_backend.h"
#include "src/provision/qcow2_backend.h"
#include "tests/src/ops/file_tools.h"
#include "tests/support/random_ops.h"

namespace platter::provision::test {

using platter::test::Bytes;
using platter::test::random_bytes;
using platter::test::read_file;
using platter::test::status_of;
using platter::test::TempDir;
using platter::test::write_file;

inline constexpr std::string_view kInstance = "0b4f1e52-3a9c-4d6e-8f00-123456789abc";

/// Brings bytes that are in memory, and counts how often.
class BytesSource final : public TemplateSource {
 public:
  explicit BytesSource(Bytes bytes) : bytes_(std::move(bytes)) {}
  const std::string& name() const noexcept override { return name_; }
  bool resumable() const noexcept override { return resumable_; }
  Task<FetchResult> fetch(File& target, FetchOptions options) override {
    ++fetches;
    resumed_from = options.resume.bytes;
    const std::uint64_t from = options.resume.validator == "v1" ? options.resume.bytes : 0;
    if (from == 0 && options.on_validator) co_await options.on_validator("v1");
    co_await target.truncate(from);
    const std::size_t end = std::min(bytes_.size(), fail_at);
    co_await target.write(from, std::span(bytes_).subspan(from, end - from));
    if (end < bytes_.size()) co_return fail(ErrorKind::io, "the source broke");
    co_return FetchResult{.size = bytes_.size(), .resumed = from, .digest = ""};
  }
  void set_resumable() noexcept { resumable_ = true; }

  int fetches = 0;
  std::uint64_t resumed_from = 0;
  std::size_t fail_at = SIZE_MAX;

 private:
  Bytes bytes_;
  std::string name_ = "memory";
  bool resumable_ = false;
};

class BackendTest : public testing::Test {
 protected:
  BackendTest() { config_.instances = instances_.path(); }

  std::unique_ptr<ImageBackend> qcow2() { return Qcow2Backend::open(config_).value(); }
  std::unique_ptr<ImageBackend> flat() { return FlatBackend::open(config_).value(); }
  static DiskRequest request(TemplateSource* source, std::optional<std::uint64_t> size,
                             const std::string& disk = "disk") {
    BaseRequest base;
    base.name = "base";
    base.source = source;
    DiskRequest made;
    made.name = DiskName::parse(kInstance, disk).value();
    made.base = std::move(base);
    made.size = size;
    return made;
  }
  DiskReport provision(ImageBackend& backend, DiskRequest wanted) {
    auto report = ring_->run(backend.provision(std::move(wanted)));
    EXPECT_TRUE(report) << report.error().message();
    return report.value_or(DiskReport());
  }
  ErrorKind refusal(ImageBackend& backend, DiskRequest wanted) {
    auto report = ring_->run(backend.provision(std::move(wanted)));
    EXPECT_FALSE(report);
    return report ? ErrorKind::cancelled : report.error().kind();
  }
  std::string path(std::string_view below) const { return instances_ / below; }
  std::string disk_path(const std::string& disk = "disk") const {
    return path(std::string(kInstance) + "/" + disk);
  }
  /// What is below a folder; nothing if there is none.
  std::vector<std::string> names(std::string_view below) const {
    const auto folder = Folder::open(path(below));
    std::vector<std::string> found = folder ? folder->names().value() : std::vector<std::string>();
    std::ranges::sort(found);
    return found;
  }
  /// A qcow2 image in a file elsewhere, as bytes.
  Bytes qcow2_bytes(std::uint64_t size, std::uint64_t cluster_size,
                    std::optional<std::string> backing = std::nullopt) {
    const TempDir folder;
    CreateOptions options;
    options.filename = folder / "image";
    options.format = "qcow2";
    options.size = size;
    options.qcow2.cluster_size = cluster_size;
    options.qcow2.backing_file = backing;
    if (backing) options.qcow2.backing_format = "raw";
    EXPECT_TRUE(ring_->run(create_image(std::move(options))));
    return read_file(folder / "image");
  }

  TempDir instances_;
  Config config_;
  std::unique_ptr<Ring> ring_ = Ring::create().value();
};

}  // namespace platter::provision::test
