// A qcow2 image in memory, small enough to repair it hundreds of times, and to look through.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "formats/qcow2/format.h"
#include "formats/qcow2/refcount_array.h"
#include "io/bytes.h"

namespace platter::qcow2::test {

/// Version 3, clusters of 512 bytes. One L2 table with `data` clusters, shared with a snapshot if
/// wanted; correct in every respect until a test breaks it.
class TinyImage {
 public:
  static constexpr std::uint64_t kCluster = 512;
  static constexpr std::uint64_t kL2Entries = kCluster / 8;
  static constexpr std::uint64_t kCopied = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kSize = 4 * kL2Entries * kCluster;  // guest bytes

  TinyImage(unsigned order, unsigned data, bool snapshot) : order_(order) {
    table_ = take(1);
    l1_ = take(1);
    l2_ = take(1);
    for (unsigned i = 0; i < data; ++i) {
      const std::uint64_t cluster = take(1);
      std::memset(bytes.data() + cluster * kCluster, static_cast<int>(i + 1), kCluster);
      put(l2_at(i), cluster * kCluster | (snapshot ? 0 : kCopied));
    }
    put(l1_ * kCluster, l2_ * kCluster | (snapshot ? 0 : kCopied));
    if (snapshot) add_snapshot(data);
    write_header(snapshot);
    write_refcounts();
  }

  std::vector<std::byte> bytes = std::vector<std::byte>(kCluster);

  std::uint64_t table_offset() const { return table_ * kCluster; }
  std::uint64_t l1_at(std::uint64_t index) const { return l1_ * kCluster + 8 * index; }
  std::uint64_t l2_at(std::uint64_t index) const { return l2_ * kCluster + 8 * index; }
  std::uint64_t snapshots_offset() const { return snapshots_ * kCluster; }
  std::uint64_t clusters() const { return bytes.size() / kCluster; }
  std::uint64_t data_cluster(std::uint64_t index) const {
    return (get(l2_at(index)) & ~kCopied) / kCluster;
  }

  std::uint64_t get(std::uint64_t at) const {
    be64 value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
  }
  void put(std::uint64_t at, std::uint64_t value) {
    const be64 stored = value;
    std::memcpy(bytes.data() + at, &stored, sizeof stored);
  }
  void put32(std::uint64_t at, std::uint32_t value) {
    const be32 stored = value;
    std::memcpy(bytes.data() + at, &stored, sizeof stored);
  }
  void set_refcount(std::uint64_t cluster, std::uint64_t count) {
    const std::uint64_t per_block = (kCluster * 8) >> order_;
    std::byte* const block = bytes.data() + get(table_offset() + cluster / per_block * 8);
    with_refcount_width(order_, [&](auto width) { width.set(block, cluster % per_block, count); });
  }
  /// A cluster that nothing refers to, counted all the same.
  std::uint64_t add_leak() {
    const std::uint64_t cluster = take(1);
    set_refcount(cluster, 1);
    return cluster;
  }

 private:
  std::uint64_t take(std::uint64_t count) {
    const std::uint64_t first = clusters();
    bytes.resize(bytes.size() + count * kCluster);
    return first;
  }

  void add_snapshot(unsigned data) {
    const std::uint64_t l1 = take(1);
    put(l1 * kCluster, l2_ * kCluster);
    snapshots_ = take(1);
    DiskSnapshot snapshot{};
    snapshot.l1_table_offset = l1 * kCluster;
    snapshot.l1_size = 4;
    snapshot.id_size = 1;
    snapshot.name_size = 3;
    snapshot.extra_data_size = 24;
    std::byte* const entry = bytes.data() + snapshots_offset();
    std::memcpy(entry, &snapshot, sizeof snapshot);
    put(snapshots_offset() + 48, kSize);
    put(snapshots_offset() + 56, ~std::uint64_t{0});
    std::memcpy(entry + 64, "1one", 4);
    shared_ = data + 1;  // the L2 table and its clusters
  }

  void write_header(bool snapshot) {
    DiskHeader header{};
    header.magic = kMagic;
    header.version = 3;
    header.cluster_bits = 9;
    header.size = kSize;
    header.l1_size = 4;
    header.l1_table_offset = l1_ * kCluster;
    header.refcount_table_offset = table_offset();
    header.refcount_table_clusters = 1;
    header.nb_snapshots = snapshot ? 1 : 0;
    header.snapshots_offset = snapshots_offset();
    header.refcount_order = order_;
    header.header_length = 112;
    std::memcpy(bytes.data(), &header, sizeof header);
  }

  void write_refcounts() {
    const std::uint64_t per_block = (kCluster * 8) >> order_;
    for (std::uint64_t block = 0; block * per_block < clusters(); ++block) {
      put(table_offset() + 8 * block, take(1) * kCluster);
    }
    for (std::uint64_t i = 0; i < clusters(); ++i) {
      set_refcount(i, i >= l2_ && i < l2_ + shared_ ? 2 : 1);
    }
  }

  unsigned order_;
  std::uint64_t table_ = 0;
  std::uint64_t l1_ = 0;
  std::uint64_t l2_ = 0;
  std::uint64_t snapshots_ = 0;
  std::uint64_t shared_ = 0;
};

}  // namespace platter::qcow2::test
