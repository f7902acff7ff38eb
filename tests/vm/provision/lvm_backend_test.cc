#include "src/provision/lvm_backend.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "formats/open.h"
#include "io/bytes.h"
#include "io/direct_file.h"
#include "src/ops/convert.h"
#include "src/provision/file_source.h"
#include "src/provision/generators.h"
#include "src/provision/open_backend.h"
#include "tests/support/temp_dir.h"
#include "tests/vm/vm_rig.h"

namespace platter::provision {
namespace {

using test::tool;

constexpr const char* kInstance = "0b4f1e52-3a9c-4d6e-8f00-123456789abc";
constexpr std::uint64_t kBaseSize = 8 * kMiB;

class LvmBackendTest : public test::WithVolumeGroup {
 protected:
  void SetUp() override {
    WithVolumeGroup::SetUp();
    config_.instances = folder_.path();
    config_.backend = BackendKind::lvm;
    config_.volumes.volume_group = "vmtest";
    content_.assign(kBaseSize, '\0');
    for (std::size_t at = 0; at < kMiB; ++at) content_[at + kMiB] = static_cast<char>(1 + at % 251);
    content_.replace(kBaseSize - 6, 6, "theend");
    std::ofstream(image("raw"), std::ios::binary) << content_;
    write_qcow2("qcow2", false);
    write_qcow2("compressed", true);
  }
  std::string image(const std::string& name) { return folder_ / ("image." + name); }
  void write_qcow2(const std::string& name, bool compress) {
    ConvertOptions options;
    options.sources.emplace_back(image("raw"));
    options.source_format = "raw";
    options.target = image(name);
    options.target_format = "qcow2";
    options.compress = compress;
    must(convert(std::move(options)));
  }
  void encrypt(EncryptionFormat format) {
    config_.encryption.enabled = true;
    config_.encryption.format = format;
    config_.encryption.key_file = folder_ / "key";
    std::ofstream(folder_ / "key") << std::string(64, 'f');
    ::chmod((folder_ / "key").c_str(), 0600);
  }
  std::unique_ptr<ImageBackend> backend() {
    return open_backend(config_, BackendUse::work).value();
  }
  static DiskName name() { return DiskName::parse(kInstance, "disk_x").value(); }
  DiskRequest request(TemplateSource& source, const std::string& base,
                      std::optional<std::uint64_t> size) {
    DiskRequest made{.name = name(), .size = size};
    made.base = BaseRequest{.name = base, .source = &source};
    return made;
  }
  static Task<std::string> read_text(std::string path, std::size_t length) {
    const auto file = co_await DirectFile::open(path, FileOptions{});
    std::string text(length, 'x');
    auto done = co_await read_exactly(*file, 0, std::as_writable_bytes(std::span(text))).result();
    co_await file->close();
    co_await std::move(done);
    co_return text;
  }
  void expect_nothing() {
    EXPECT_EQ(tool("lvs", "--noheadings", "-o", "lv_name", "vmtest").find("0b4f"),
              std::string::npos);
    EXPECT_EQ(tool("dmsetup", "ls").find("0b4f"), std::string::npos);
  }
  // Made of this image, larger than it or not, and removed.
  void make_and_remove(const std::string& kind, std::optional<std::uint64_t> size) {
    const auto source = file_source(image(kind));
    const auto disks = backend();
    const DiskReport made = must(disks->provision(request(*source, "base-" + kind, size)));
    EXPECT_TRUE(made.created);
    EXPECT_EQ(made.format, "raw");
    EXPECT_GE(made.virtual_size, size.value_or(kBaseSize));
    EXPECT_EQ(made.path, disks->path_of(name()).value());
    EXPECT_TRUE(must(read_text(made.path, kBaseSize)) == content_) << kind;
    const DiskReport again = must(disks->provision(request(*source, "base-" + kind, size)));
    EXPECT_FALSE(again.created || again.grown);
    EXPECT_TRUE(must(disks->remove(name(), nullptr)));
    EXPECT_FALSE(must(disks->remove(name(), nullptr)));
    expect_nothing();
  }
  // Grown, extracted.
  void grow_and_extract() {
    const auto source = file_source(image("qcow2"));
    const auto disks = backend();
    must(disks->provision(request(*source, "base-qcow2", std::nullopt)));
    const DiskReport grown = must(disks->provision(request(*source, "base-qcow2", 20 * kMiB)));
    EXPECT_TRUE(grown.grown && !grown.created);
    EXPECT_GE(must(disks->disk_size(name())), 20 * kMiB);
    EXPECT_TRUE(must(read_text(grown.path, kBaseSize)) == content_);
    must(disks->extract({.name = name(), .target = folder_ / "extracted"}));
    EXPECT_TRUE(must(read_text(folder_ / "extracted", kBaseSize)) == content_);
    must(disks->remove(name(), nullptr));
    expect_nothing();
  }
  // Fills the group's free space, as somebody's disk that was removed did.
  void dirty_the_group() {
    must(group().create({.name = "old", .size = 48 * kMiB}));
    std::ofstream("/dev/vmtest/old", std::ios::binary | std::ios::in)
        << std::string(48 * kMiB, 'o');
    must(group().remove("old"));
  }
  void live() {
    make_and_remove("raw", std::nullopt);
    make_and_remove("qcow2", kBaseSize);
    make_and_remove("compressed", 12 * kMiB);
    grow_and_extract();
  }

  test::TempDir folder_;
  Config config_;
  std::string content_;
};

TEST_F(LvmBackendTest, Linear) { live(); }

TEST_F(LvmBackendTest, NothingOfOthersShowsInALinearOne) {
  dirty_the_group();
  const auto source = file_source(image("qcow2"));
  const auto disks = backend();
  must(disks->provision(request(*source, "base-qcow2", 16 * kMiB)));
  const DiskReport grown = must(disks->provision(request(*source, "base-qcow2", 32 * kMiB)));
  std::string expected = content_;
  expected.resize(32 * kMiB, '\0');
  EXPECT_TRUE(must(read_text(grown.path, 32 * kMiB)) == expected);
  must(disks->remove(name(), nullptr));
}

TEST_F(LvmBackendTest, Thin) {
  tool("lvcreate", "--yes", "--type", "thin-pool", "-L", "64m", "-n", "pool", "vmtest");
  config_.volumes.kind = VolumeKind::thin;
  config_.volumes.thin_pool = "pool";
  live();
}

TEST_F(LvmBackendTest, PlainEncryption) {
  encrypt(EncryptionFormat::plain);
  live();
}

TEST_F(LvmBackendTest, Luks2) {
  encrypt(EncryptionFormat::luks2);  // each format and each opening takes seconds, on purpose
  make_and_remove("compressed", 12 * kMiB);
  grow_and_extract();
}

TEST_F(LvmBackendTest, GeneratedContents) {
  const auto source = swap_source(8 * kMiB, {.label = "swap"});
  DiskRequest wanted = request(*source, "swap_8", 8 * kMiB);
  wanted.base->generated = true;
  const DiskReport made = must(backend()->provision(std::move(wanted)));
  EXPECT_NE(tool("blkid", "-p", made.path).find("LABEL=\"swap\""), std::string::npos);
  must(backend()->remove(name(), nullptr));
}

TEST_F(LvmBackendTest, WhatFailsLeavesNothing) {
  const auto source = file_source(image("raw"));
  const auto disks = backend();
  must_fail(disks->provision(request(*source, "base-raw", 4 * kMiB)), ErrorKind::too_large);
  must_fail(disks->provision(request(*source, "base-raw", std::uint64_t{1} << 40)),
            ErrorKind::no_space);
  encrypt(EncryptionFormat::plain);
  ::chmod((folder_ / "key").c_str(), 0644);
  must_fail(backend()->provision(request(*source, "base-raw", std::nullopt)),
            ErrorKind::permission);
  expect_nothing();
}

TEST_F(LvmBackendTest, APlanChangesNothing) {
  const auto source = file_source(image("raw"));
  const DiskReport plan = must(open_backend(config_, BackendUse::look)
                                   .value()
                                   ->plan(request(*source, "base-raw", 16 * kMiB)));
  EXPECT_TRUE(plan.created && plan.base_fetched);
  EXPECT_EQ(plan.virtual_size, 16 * kMiB);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "_base"));
  expect_nothing();
}

}  // namespace
}  // namespace platter::provision
