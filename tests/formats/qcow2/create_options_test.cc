#include "formats/qcow2/create_options.h"

#include <string>

#include <gtest/gtest.h>

#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

std::string refusal(const CreateOptions& options) {
  const Result<void> good = check(options);
  return good ? "accepted" : good.error().message();
}

TEST(Qcow2CreateOptions, TheDefaultsAreGood) { EXPECT_EQ(refusal({}), "accepted"); }

TEST(Qcow2CreateOptions, EveryMisfitIsNamed) {
  struct Case {
    CreateOptions options;
    const char* words;
  };
  const Case cases[] = {
      {{.cluster_size = 0}, "Cluster size must be a power of two between 512 and 2048k"},
      {{.cluster_size = 256}, "Cluster size"},
      {{.cluster_size = 1000}, "Cluster size"},
      {{.cluster_size = 4 * kMiB}, "Cluster size"},
      {{.cluster_size = 8192, .extended_l2 = true}, "cluster sizes of at least 16384"},
      {{.version = 2, .extended_l2 = true}, "Extended L2 entries are only supported with"},
      {{.preallocation = Preallocation::metadata, .backing_file = "b"}, "if extended_l2 is on"},
      {{.backing_format = "raw"}, "cannot be used without backing file"},
      {{.version = 2, .lazy_refcounts = true}, "Lazy refcounts only supported"},
      {{.refcount_bits = 0}, "Refcount width"},
      {{.refcount_bits = 24}, "Refcount width"},
      {{.refcount_bits = 128}, "Refcount width"},
      {{.version = 2, .refcount_bits = 8}, "Different refcount widths"},
      {{.data_file_raw = true}, "data-file-raw requires data-file"},
      {{.backing_file = "b", .data_file = "d", .data_file_raw = true}, "at the same time"},
      {{.version = 2, .data_file = "d"}, "External data files"},
      {{.version = 2, .compression_type = CompressionType::zstd}, "Non-zlib"},
      {{.size = kMaxFileSize}, "larger than any image"},
      {{.size = ~std::uint64_t{0}}, "larger than any image"},
  };
  for (const Case& test : cases) {
    EXPECT_NE(refusal(test.options).find(test.words), std::string::npos)
        << test.words << ": " << refusal(test.options);
  }
}

TEST(Qcow2CreateOptions, ARawDataFileIsMappedFromTheStart) {
  CreateOptions options{.data_file = "d", .data_file_raw = true};
  EXPECT_EQ(options.effective_preallocation(), Preallocation::metadata);
  options.preallocation = Preallocation::full;
  EXPECT_EQ(options.effective_preallocation(), Preallocation::full);
  options.data_file_raw = false;
  options.preallocation = Preallocation::off;
  EXPECT_EQ(options.effective_preallocation(), Preallocation::off);
}

TEST(Qcow2CreateOptions, BecomeTheHeadersFeatures) {
  const Header header = header_of({.size = 1000,
                                   .cluster_size = 32768,
                                   .refcount_bits = 1,
                                   .lazy_refcounts = true,
                                   .extended_l2 = true,
                                   .compression_type = CompressionType::zstd,
                                   .data_file = "d",
                                   .data_file_raw = true});
  EXPECT_EQ(header.size, 1024U) << "whole sectors";
  EXPECT_EQ(header.cluster_bits, 15U);
  EXPECT_EQ(header.refcount_order, 0U);
  EXPECT_EQ(header.incompatible_features,
            (1U << kDataFileBit) | (1U << kCompressionTypeBit) | (1U << kExtendedL2Bit));
  EXPECT_TRUE(header.lazy_refcounts());
  EXPECT_TRUE(header.autoclear(kRawDataFileBit));
}

}  // namespace
}  // namespace platter::qcow2
