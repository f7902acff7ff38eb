#include "formats/inspect/inspect.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "formats/inspect/detector.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "io/run_loop.h"
#include "io/unique_fd.h"
#include "tests/formats/qcow2/tiny_image.h"
#include "tests/support/temp_dir.h"

namespace platter {
namespace {

using namespace std::string_view_literals;
using qcow2::test::TinyImage;
using Content = std::vector<std::byte>;

void put(Content& content, std::size_t at, std::string_view bytes) {
  if (content.size() < at + bytes.size()) content.resize(at + bytes.size());
  std::ranges::copy(std::as_bytes(std::span(bytes)),
                    content.begin() + static_cast<std::ptrdiff_t>(at));
}

Content zeroes(std::size_t size = 1 << 20) { return Content(size); }
Content qcow2_image() { return TinyImage(4, 3, /*snapshot=*/false).bytes; }
Content partitioned() {
  Content content = zeroes();
  put(content, 446, "\x80\0\0\0\x83\0\0\0\x08\0\0\0\x08\0\0\0"sv);
  put(content, 510, "\x55\xaa"sv);
  return content;
}
Content iso() {
  Content content = zeroes();
  put(content, 32768, "\1CD001\1"sv);
  put(content, 34816,
      "\xff"
      "CD001\1"sv);
  return content;
}

Result<Inspection> try_inspect(const Content& content, InspectOptions options = {}) {
  auto work = [&]() -> Task<Inspection> {
    MemoryFile file("image");
    co_await file.write(0, content);
    co_return co_await inspect_file(file, std::move(options));
  };
  RunLoop loop;
  return loop.run(work());
}
Inspection inspected(const Content& content, InspectOptions options = {}) {
  Result<Inspection> inspection = try_inspect(content, std::move(options));
  EXPECT_TRUE(inspection) << (inspection ? "" : inspection.error().message());
  return inspection ? *std::move(inspection) : Inspection();
}

/// The codes of what is unsafe, in order.
std::vector<std::string> unsafe(const Inspection& inspection) {
  std::vector<std::string> codes;
  for (const Finding& finding : inspection.findings) {
    if (finding.unsafe) codes.emplace_back(finding.code);
  }
  EXPECT_EQ(inspection.safe(), codes.empty());
  return codes;
}
using Codes = std::vector<std::string>;

TEST(Inspect, WhatHasNoMarksIsRaw) {
  const Inspection inspection = inspected(zeroes());
  EXPECT_EQ(inspection.format, "raw");
  EXPECT_TRUE(inspection.matches.empty());
  EXPECT_EQ(inspection.virtual_size, 1 << 20);
  EXPECT_TRUE(inspection.safe());
}

TEST(Inspect, AnEmptyFileIsRaw) {
  EXPECT_EQ(inspected({}).format, "raw");
  EXPECT_TRUE(inspected({}).safe());
}

TEST(Inspect, APlainQcow2ImageIsSafe) {
  const Inspection inspection = inspected(qcow2_image(), {.declared = "qcow2"});
  EXPECT_EQ(inspection.format, "qcow2");
  EXPECT_EQ(inspection.virtual_size, TinyImage::kSize);
  EXPECT_EQ(unsafe(inspection), Codes{});
}

TEST(Inspect, AQcow2BackingFileIsUnsafe) {
  TinyImage image(4, 1, false);
  image.put(8, 400);
  image.put32(16, 5);
  put(image.bytes, 400, "b\n'se"sv);
  const Inspection inspection = inspected(image.bytes);
  EXPECT_EQ(unsafe(inspection), Codes{"backing-file"});
  EXPECT_EQ(inspection.findings[0].message, "the image has a backing file: 'b\\x0a\\x27se'");
  EXPECT_EQ(inspection.findings[0].offset, 400);
}

TEST(Inspect, AQcow2DataFileIsUnsafe) {
  TinyImage image(4, 1, false);
  image.put(72, 4);
  EXPECT_EQ(unsafe(inspected(image.bytes)), Codes{"data-file"});
}

TEST(Inspect, UnknownQcow2FeaturesAreUnsafe) {
  TinyImage image(4, 1, false);
  image.put(72, (1ULL << 63) | 0x20);
  const Inspection inspection = inspected(image.bytes);
  EXPECT_EQ(unsafe(inspection), Codes{"unknown-features"});
  EXPECT_EQ(inspection.findings[0].message, "unknown incompatible feature bits: 5, 63");
}

TEST(Inspect, AllThatIsWrongIsNamed) {
  TinyImage image(4, 1, false);
  image.put(8, 400);
  image.put32(16, 3);
  image.put(72, 4 | 0x40);
  EXPECT_EQ(unsafe(inspected(image.bytes)),
            (Codes{"backing-file", "data-file", "unknown-features"}));
}

TEST(Inspect, OtherQcow2VersionsAreUnsafe) {
  for (const std::uint32_t version : {0U, 1U, 4U, ~0U}) {
    TinyImage image(4, 1, false);
    image.put32(4, version);
    EXPECT_EQ(unsafe(inspected(image.bytes)), Codes{"unsupported-version"}) << version;
  }
}

TEST(Inspect, ADamagedQcow2HeaderIsUnsafe) {
  TinyImage image(4, 1, false);
  image.put32(20, 40);
  EXPECT_EQ(unsafe(inspected(image.bytes)), Codes{"bad-header"});
  TinyImage cut(4, 1, false);
  cut.bytes.resize(512);
  EXPECT_EQ(unsafe(inspected(cut.bytes)), (Codes{"truncated", "truncated"}));
}

TEST(Inspect, TheDeclaredFormatHasToBeTheFound) {
  EXPECT_EQ(unsafe(inspected(qcow2_image(), {.declared = "raw"})), Codes{"format-mismatch"});
  EXPECT_EQ(unsafe(inspected(zeroes(), {.declared = "qcow2"})), Codes{"format-mismatch"});
  EXPECT_EQ(unsafe(inspected(zeroes(), {.declared = "raw"})), Codes{});
  EXPECT_EQ(unsafe(inspected(zeroes(), {.declared = "gpt"})), Codes{"format-mismatch"});
}

TEST(Inspect, APartitionTableCountsAsRaw) {
  EXPECT_EQ(inspected(partitioned()).format, "mbr");
  EXPECT_EQ(unsafe(inspected(partitioned(), {.declared = "raw"})), Codes{});
  EXPECT_EQ(unsafe(inspected(partitioned(), {.declared = "iso"})), Codes{"format-mismatch"});
  Content gpt = partitioned();
  put(gpt, 512, "EFI PART"sv);
  EXPECT_EQ(inspected(gpt).format, "gpt");
  EXPECT_EQ(unsafe(inspected(gpt, {.declared = "raw"})), Codes{});
}

TEST(Inspect, ABootSectorWithoutPartitionsIsRaw) {
  Content content = zeroes();
  put(content, 510, "\x55\xaa"sv);
  EXPECT_EQ(inspected(content).format, "raw");
  Content filesystem = partitioned();
  filesystem[446] = std::byte{0x33};  // code, not a status
  EXPECT_EQ(inspected(filesystem).format, "raw");
}

TEST(Inspect, AHybridIsoIsAnIso) {
  Content hybrid = partitioned();
  put(hybrid, 32768, "\1CD001\1"sv);
  const Inspection inspection = inspected(hybrid, {.declared = "iso"});
  EXPECT_EQ(inspection.format, "iso");
  EXPECT_EQ(inspection.matches, (Codes{"mbr", "iso"}));
  EXPECT_TRUE(inspection.safe());
}

TEST(Inspect, AFileOfSeveralFormatsIsUnsafe) {
  Content both = iso();
  const Content image = qcow2_image();
  std::ranges::copy(image, both.begin());
  const Inspection inspection = inspected(both, {.declared = "iso"});
  EXPECT_EQ(inspection.format, "");
  EXPECT_FALSE(inspection.virtual_size);
  EXPECT_EQ(unsafe(inspection), Codes{"several-formats"});
  EXPECT_EQ(inspection.matches, (Codes{"qcow2", "iso"}));
}

TEST(Inspect, AQcow2ImageWithAPartitionTableIsUnsafe) {
  Content both = qcow2_image();
  put(both, 446, "\x80\0\0\0\x83\0\0\0\x08\0\0\0\x08\0\0\0"sv);
  put(both, 510, "\x55\xaa"sv);
  EXPECT_EQ(unsafe(inspected(both)).front(), "several-formats");
}

TEST(Inspect, AFormatThatOnlyProbingKnowsIsUnsafe) {
  Content content = zeroes();
  put(content, 0, "WithoutFreeSpace"sv);
  EXPECT_EQ(unsafe(inspected(content, {.declared = "raw"})), Codes{"unknown-format"});
}

TEST(Inspect, LargerDisksThanAllowedAreUnsafe) {
  const InspectOptions small{.virtual_size_max = TinyImage::kSize - 1};
  EXPECT_EQ(unsafe(inspected(qcow2_image(), small)), Codes{"virtual-size"});
  const InspectOptions fits{.virtual_size_max = TinyImage::kSize};
  EXPECT_EQ(unsafe(inspected(qcow2_image(), fits)), Codes{});
}

TEST(Inspect, VmdkDescriptorsAreUnsafe) {
  Content content;
  put(content, 0, "# Disk DescriptorFile\nversion=1\nRW 1 FLAT \"/etc/shadow\" 0\n"sv);
  EXPECT_EQ(unsafe(inspected(content)), Codes{"extents"});
  Content plain;
  put(plain, 0, "# anything\r\n\n  \nversion=3\n"sv);
  EXPECT_EQ(inspected(plain).format, "vmdk");
  Content script;
  put(script, 0, "#!/bin/sh\necho version=1\n"sv);
  EXPECT_EQ(inspected(script).format, "raw");
}

TEST(Inspect, UnknownDeclarationsAreErrors) {
  const Result<Inspection> inspection = try_inspect(zeroes(), {.declared = "qcow"});
  ASSERT_FALSE(inspection);
  EXPECT_EQ(inspection.error().kind(), ErrorKind::invalid_argument);
}

TEST(Inspect, ReadsAreBoundedWhateverTheImageClaims) {
  // A VMDK whose descriptor is as large as is taken, in a huge file; a qcow2 of the largest clusters.
  Content vmdk = zeroes(2 << 20);
  put(vmdk, 0, "KDMV\1\0\0\0\0\0\0\0\xff\xff\0\0\0\0\0\0"sv);
  put(vmdk, 28, "\1\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"sv);
  EXPECT_EQ(unsafe(inspected(vmdk)), Codes{"bad-header"});
  TinyImage image(4, 1, false);
  image.put32(20, 21);
  image.bytes.resize(16 << 20);
  const Inspection inspection = inspected(image.bytes);
  EXPECT_FALSE(inspection.safe());
  EXPECT_LE(inspection.bytes_read, kInspectionReadMax);
}

TEST(Inspect, OfADescriptorNothingChanges) {
  const test::TempDir folder;
  const std::string path = folder.path() + "/image";
  UniqueFd fd(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  const Content content = qcow2_image();
  ASSERT_EQ(::write(fd.get(), content.data(), content.size()),
            static_cast<ssize_t>(content.size()));
  ASSERT_EQ(::lseek(fd.get(), 17, SEEK_SET), 17);
  const int flags = ::fcntl(fd.get(), F_GETFL);
  auto ring = Ring::create();
  ASSERT_TRUE(ring);
  const auto inspection = (*ring)->run(inspect_descriptor(fd.get(), path, {.declared = "qcow2"}));
  ASSERT_TRUE(inspection) << inspection.error().message();
  EXPECT_TRUE(inspection->safe());
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_CUR), 17);
  EXPECT_EQ(::fcntl(fd.get(), F_GETFL), flags);
}

TEST(Inspect, PipesAreRefused) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  auto ring = Ring::create();
  ASSERT_TRUE(ring);
  const auto inspection = (*ring)->run(inspect_descriptor(reader.get(), "pipe", {}));
  ASSERT_FALSE(inspection);
  EXPECT_EQ(inspection.error().kind(), ErrorKind::wrong_type);
}

}  // namespace
}  // namespace platter
