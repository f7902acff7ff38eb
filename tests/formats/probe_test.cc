#include "formats/probe.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/random_ops.h"

namespace platter {
namespace {

using namespace std::string_view_literals;

/// The start of a file: zeroes, with `bytes` at `offset`.
std::vector<std::byte> head(std::string_view bytes, std::size_t offset = 0,
                            std::size_t size = kProbeSize) {
  std::vector<std::byte> made(size);
  std::ranges::copy(std::as_bytes(std::span(bytes)),
                    made.begin() + static_cast<std::ptrdiff_t>(offset));
  return made;
}

TEST(ProbeFormat, KnowsEachSignature) {
  EXPECT_EQ(probe_format(head("QFI\xfb\0\0\0\2"sv)), "qcow2");
  EXPECT_EQ(probe_format(head("QFI\xfb\0\0\0\3"sv)), "qcow2");
  EXPECT_EQ(probe_format(head("QFI\xfb\0\0\0\1"sv)), "qcow");
  EXPECT_EQ(probe_format(head("LUKS\xba\xbe\0\1"sv)), "luks");
  EXPECT_EQ(probe_format(head("LUKS\xba\xbe\0\2"sv)), "luks");
  EXPECT_EQ(probe_format(head("QED\0"sv)), "qed");
  EXPECT_EQ(probe_format(head("KDMV"sv)), "vmdk");
  EXPECT_EQ(probe_format(head("COWD"sv)), "vmdk");
  EXPECT_EQ(probe_format(head("# Disk DescriptorFile\nversion=1\n"sv)), "vmdk");
  EXPECT_EQ(probe_format(head("\x7f\x10\xda\xbe"sv, 0x40)), "vdi");
  EXPECT_EQ(probe_format(head("vhdxfile"sv)), "vhdx");
  EXPECT_EQ(probe_format(head("conectix"sv)), "vpc");
  EXPECT_EQ(probe_format(head("WithoutFreeSpace"sv)), "parallels");
  EXPECT_EQ(probe_format(head("WithouFreSpacExt"sv)), "parallels");
  EXPECT_EQ(probe_format(head("Bochs Virtual HD Image"sv)), "bochs");
}

TEST(ProbeFormat, ACowFileOfALaterVersionIsNotRaw) {
  EXPECT_EQ(probe_format(head("QFI\xfb\0\0\0\4"sv)), "qcow2");
  EXPECT_EQ(probe_format(head("QFI\xfb\xff\xff\xff\xff"sv)), "qcow2");
}

TEST(ProbeFormat, EverythingElseIsRaw) {
  EXPECT_EQ(probe_format({}), "raw");
  EXPECT_EQ(probe_format(head("")), "raw");
  EXPECT_EQ(probe_format(head("QFI\xfa\0\0\0\3"sv)), "raw");
  EXPECT_EQ(probe_format(head("qfi\xfb\0\0\0\3"sv)), "raw");
  EXPECT_EQ(probe_format(head(" QFI\xfb\0\0\0\3"sv)), "raw");
  EXPECT_EQ(probe_format(head("LUKS"sv)), "raw");
  EXPECT_EQ(probe_format(head("QED "sv)), "raw");
  EXPECT_EQ(probe_format(head("\x7f\x10\xda\xbe"sv)), "raw") << "in the wrong place";
  EXPECT_EQ(probe_format(head("# Disk"sv)), "raw");
  EXPECT_EQ(probe_format(head("\xeb\x63\x90"sv)), "raw") << "a boot sector";
}

TEST(ProbeFormat, AShortFileIsJudgedByWhatItHas) {
  const std::string_view signature = "WithoutFreeSpace";
  for (std::size_t size = 0; size < signature.size(); ++size) {
    EXPECT_EQ(probe_format(std::as_bytes(std::span(signature.substr(0, size)))), "raw") << size;
  }
  EXPECT_EQ(probe_format(std::as_bytes(std::span(signature))), "parallels");
  EXPECT_EQ(probe_format(std::as_bytes(std::span("\x7f\x10\xda\xbe"sv))), "raw");
}

TEST(ProbeFormat, AnyBytesAreJudged) {
  const std::uint64_t seed = test::test_seed();
  for (std::uint64_t round = 0; round < 1000; ++round) {
    EXPECT_FALSE(probe_format(test::random_bytes(round % 200, seed + round)).empty());
  }
}

}  // namespace
}  // namespace platter
