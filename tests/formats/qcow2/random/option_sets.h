// The kinds of images that the random tests are about.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "io/bytes.h"

namespace platter::qcow2::test {

/// One image of a backing chain.
struct BackingLayer {
  std::string format;
  std::uint64_t size = 0;  ///< guest bytes
};

struct OptionSet {
  std::string name;
  std::string options;                  ///< of `qemu-img create -o`
  std::uint64_t size = 2 * kMiB;        ///< guest bytes, at first
  std::vector<BackingLayer> backing{};  ///< the nearest first
  /// Bytes of metadata. With the least, snapshots look at counts in parts; there is no room for
  /// bitmaps then.
  std::uint64_t memory_max = 64 * kMiB;

  bool has(const std::string& text) const { return options.find(text) != std::string::npos; }
  std::uint64_t number(const std::string& option, std::uint64_t otherwise) const {
    const auto at = options.find(option + "=");
    if (at == std::string::npos) return otherwise;
    std::size_t used = 0;
    const std::string text = options.substr(at + option.size() + 1);
    const std::uint64_t value = std::stoull(text, &used);
    const char unit = used < text.size() ? text[used] : '\0';
    return unit == 'k' ? value * kKiB : unit == 'M' ? value * kMiB : value;
  }
  std::uint64_t cluster_size() const { return number("cluster_size", 64 * kKiB); }
  std::uint64_t refcount_bits() const { return number("refcount_bits", 16); }
  bool version2() const { return has("compat=0.10"); }
  bool data_file() const { return has("data_file="); }
  bool raw_data_file() const { return has("data_file_raw=on"); }
  bool room_for_bitmaps() const { return memory_max >= 1 * kMiB; }
  /// A snapshot more may be more than a count can say.
  bool small_counts() const { return refcount_bits() <= 4; }
};
inline void PrintTo(const OptionSet& set, std::ostream* stream) { *stream << set.name; }

inline std::vector<OptionSet> cluster_sets() {
  return {{"default", ""},
          {"c512", "cluster_size=512", 1 * kMiB},
          {"c1k", "cluster_size=1k", 1 * kMiB + 512},
          {"c4k", "cluster_size=4k"},
          {"c32k", "cluster_size=32k"},
          {"c128k", "cluster_size=128k", 3 * kMiB},
          {"c1M", "cluster_size=1M", 8 * kMiB},
          {"c2M", "cluster_size=2M", 14 * kMiB + 512},
          {"v2", "compat=0.10"},
          {"v2_c512", "compat=0.10,cluster_size=512", 300 * kKiB + 512},
          {"v2_c2M", "compat=0.10,cluster_size=2M", 10 * kMiB},
          {"extl2", "extended_l2=on"},
          {"extl2_c16k", "extended_l2=on,cluster_size=16k"},
          {"extl2_c2M", "extended_l2=on,cluster_size=2M", 10 * kMiB}};
}

inline std::vector<OptionSet> count_sets() {
  return {{"rc1", "refcount_bits=1,cluster_size=4k"},
          {"rc1_c512", "refcount_bits=1,cluster_size=512", 300 * kKiB},
          {"rc2", "refcount_bits=2,cluster_size=4k", 1 * kMiB},
          {"rc4", "refcount_bits=4,cluster_size=8k", 1 * kMiB},
          {"rc8", "refcount_bits=8"},
          {"rc32", "refcount_bits=32,cluster_size=16k"},
          {"rc64_c512", "refcount_bits=64,cluster_size=512", 1 * kMiB},
          {"rc64_extl2", "refcount_bits=64,extended_l2=on,cluster_size=32k"},
          {"in_parts", "cluster_size=512", 200 * kKiB, {}, 4 * kKiB},
          {"rc64_in_parts", "refcount_bits=64,cluster_size=512", 100 * kKiB, {}, 1},
          {"lazy", "lazy_refcounts=on"},
          {"lazy_rc8_c512", "lazy_refcounts=on,refcount_bits=8,cluster_size=512", 300 * kKiB}};
}

inline std::vector<OptionSet> compression_sets() {
  return {{"zstd", "compression_type=zstd"},
          {"zstd_c512", "compression_type=zstd,cluster_size=512", 300 * kKiB},
          {"zstd_c2M", "compression_type=zstd,cluster_size=2M", 10 * kMiB},
          {"zstd_extl2", "compression_type=zstd,extended_l2=on,lazy_refcounts=on"}};
}

inline std::vector<OptionSet> place_sets() {
  return {
      {"prealloc", "preallocation=metadata"},
      {"prealloc_falloc", "preallocation=falloc,cluster_size=32k"},
      {"prealloc_full_v2", "preallocation=full,compat=0.10"},
      {"prealloc_extl2", "preallocation=metadata,extended_l2=on"},
      {"data", "data_file=data"},
      {"data_c512", "data_file=data,cluster_size=512", 300 * kKiB},
      {"data_extl2", "data_file=data,extended_l2=on", 2 * kMiB + 512},
      {"data_falloc", "data_file=data,preallocation=falloc,cluster_size=4k"},
      {"data_raw", "data_file=data,data_file_raw=on", 2 * kMiB + 1536},
      {"data_raw_c4k", "data_file=data,data_file_raw=on,cluster_size=4k"},
      {"data_raw_full_extl2", "data_file=data,data_file_raw=on,preallocation=full,extended_l2=on"}};
}

inline std::vector<OptionSet> backing_sets() {
  return {{"over_raw", "", 2 * kMiB, {{"raw", 1 * kMiB + 100 * kKiB}}},
          {"over_longer_raw", "cluster_size=4k", 1 * kMiB, {{"raw", 2 * kMiB}}},
          {"over_qcow2", "cluster_size=16k", 2 * kMiB, {{"qcow2", 1 * kMiB}}},
          {"over_longer_qcow2", "cluster_size=512", 300 * kKiB, {{"qcow2", 1 * kMiB}}},
          {"extl2_over_raw", "extended_l2=on", 2 * kMiB, {{"raw", 1 * kMiB + 512}}},
          {"extl2_over_qcow2", "extended_l2=on,cluster_size=16k", 1 * kMiB, {{"qcow2", 2 * kMiB}}},
          {"extl2_prealloc_over",
           "extended_l2=on,preallocation=metadata",
           2 * kMiB,
           {{"raw", 1 * kMiB}}},
          {"v2_over_raw", "compat=0.10,cluster_size=4k", 1 * kMiB, {{"raw", 1 * kMiB}}},
          {"v2_over_longer", "compat=0.10,cluster_size=4k", 500 * kKiB, {{"qcow2", 1 * kMiB}}},
          {"zstd_over_chain",
           "compression_type=zstd",
           2 * kMiB,
           {{"qcow2", 1 * kMiB + 512}, {"qcow2", 3 * kMiB}, {"raw", 2 * kMiB}}},
          {"data_over_raw", "data_file=data,cluster_size=32k", 2 * kMiB, {{"raw", 1 * kMiB}}},
          {"rc8_over_chain",
           "refcount_bits=8,cluster_size=8k",
           1 * kMiB,
           {{"qcow2", 2 * kMiB}, {"raw", 1 * kMiB}}}};
}

inline std::vector<OptionSet> option_sets() {
  std::vector<OptionSet> all;
  for (auto& sets :
       {cluster_sets(), count_sets(), compression_sets(), place_sets(), backing_sets()}) {
    all.insert(all.end(), sets.begin(), sets.end());
  }
  return all;
}

}  // namespace platter::qcow2::test
