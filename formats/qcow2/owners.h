// Who owns a place of the file: everything that refers to one host cluster.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "formats/qcow2/dump_tables.h"

namespace platter::qcow2 {

struct Owner {
  /// header, l1-table, l2-table, data, zero, compressed, refcount-table, refcount-block,
  /// snapshot-table, bitmap-directory, bitmap-table, bitmap-data, encryption-header
  std::string_view kind;
  std::uint64_t host_offset = 0;  ///< what it owns: bytes from here
  std::uint64_t host_length = 0;
  /// Of the snapshot (number in the table) whose tables say so; nothing: the active ones.
  std::optional<std::uint64_t> snapshot;
  std::string name;  ///< of the snapshot or the bitmap
  /// data, zero, compressed, l2-table: the first guest byte there.
  std::optional<std::uint64_t> guest_offset;
  bool holds_offset = false;  ///< the byte asked for, not just its cluster
};

/// Tells every owner of the cluster that holds the byte at host offset `at`. Each L2 table is read once; no
/// more than 4 GiB of the snapshots' L1 tables, and of bitmap tables, are looked through.
/// Returns what kept the answer from being complete. Errors: io, cancelled, out_of_memory.
Task<Problems> find_owners(DumpSource source, std::uint64_t at,
                           std::function<bool(const Owner&)> on_owner);

}  // namespace platter::qcow2
