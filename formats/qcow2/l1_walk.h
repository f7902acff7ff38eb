// From L1 tables to the L2 tables below them, each read once however often it is referred to.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "formats/qcow2/check_report.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/refcount_array.h"
#include "formats/qcow2/table_batch.h"
#include "io/cancel.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// One L1 entry that is not zero.
struct L1Visit {
  std::uint64_t entry = 0;   ///< as in the table
  std::uint64_t index = 0;   ///< in its table
  std::uint64_t weight = 1;  ///< so many L1 tables hold it at one place
  bool active = true;

  std::uint64_t table() const noexcept { return L1Entry(entry).offset(); }
};

/// What is wrong with a table, said again each time that something refers to it.
class TableFaults {
 public:
  void add(std::string message) {
    messages_.push_back({std::move(message), /*repaired=*/false});
    ++corruptions_;
  }
  /// Said once, and no corruption any more.
  void add_repaired(std::string message) {
    messages_.push_back({std::move(message), /*repaired=*/true});
  }
  std::uint64_t corruptions() const noexcept { return corruptions_; }
  void tell(CheckMessages& messages) const {
    for (const Message& message : messages_) messages.add(message.text);
  }
  void forget_repaired() {
    std::erase_if(messages_, [](const Message& message) { return message.repaired; });
  }
  void forget_messages() { messages_ = {}; }

 private:
  struct Message {
    std::string text;
    bool repaired;
  };
  std::vector<Message> messages_;
  std::uint64_t corruptions_ = 0;
};

/// What a walk does with what it meets. Called in the order of the visits.
class L1Visitor {
 public:
  virtual ~L1Visitor() = default;
  /// Each entry, before its table.
  virtual void on_entry(const L1Visit& visit) = 0;
  /// The first visit to a table. `table` may be changed. What is in `faults` is told afterwards,
  /// also where this fails.
  virtual Task<void> on_table(const L1Visit& visit, std::span<std::byte> table,
                              TableFaults& faults) = 0;
  /// Each later one.
  virtual void on_known_table(const L1Visit& visit) = 0;
};

/// Tables that are not at a multiple of the cluster size are read at most 256 times: they can
/// overlap, so the file's size does not bound them. The faults of 65536 tables are remembered.
/// Nothing past the end of the file is read: it is zero. Belongs to the file's thread.
class L1Walk {
 public:
  /// `file_size` in bytes; `faulty` counts corruptions, by weight. All outlive the walk.
  L1Walk(const Header& header, File& file, std::uint64_t file_size, L1Visitor& visitor,
         CheckMessages& messages, std::uint64_t& corruptions, const CancelToken* cancel)
      : header_(header),
        file_size_(file_size),
        visitor_(visitor),
        messages_(messages),
        corruptions_(corruptions),
        batch_(file, header.cluster_size(), cancel) {}

  /// Errors: out_of_memory, too_large.
  Result<void> prepare();
  /// Takes an entry; it may be handed to the visitor later. Errors: io, cancelled, the visitor's.
  Task<void> visit(L1Visit visit);
  /// Hands over what is left.
  Task<void> finish();

 private:
  static constexpr std::size_t kQueueMax = 16384;
  static constexpr unsigned kUnalignedMax = 256;
  static constexpr std::size_t kFaultyMax = 65536;
  static constexpr std::size_t kUnread = ~std::size_t{0};

  struct Queued {
    L1Visit visit;
    std::size_t slot;  // in the batch, or kUnread
  };
  bool must_read(std::uint64_t table);

  const Header& header_;
  std::uint64_t file_size_;
  L1Visitor& visitor_;
  CheckMessages& messages_;
  std::uint64_t& corruptions_;
  TableBatch batch_;
  RefcountArray seen_;  // one bit for each cluster
  unsigned unaligned_ = 0;
  std::vector<Queued> queue_;
  std::vector<std::uint64_t> offsets_;
  std::unordered_map<std::uint64_t, TableFaults> faulty_;
};

}  // namespace platter::qcow2
