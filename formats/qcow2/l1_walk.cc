#include "formats/qcow2/l1_walk.h"

#include <limits>

#include "io/bytes.h"

namespace platter::qcow2 {

Result<void> L1Walk::prepare() {
  const std::uint64_t clusters = (file_size_ >> header_.cluster_bits) + 1;
  auto seen = RefcountArray::create(0, clusters, std::numeric_limits<std::uint64_t>::max());
  if (!seen) return fail(std::move(seen.error()));
  seen_ = std::move(*seen);
  return {};
}

bool L1Walk::must_read(std::uint64_t table) {
  if (table >= file_size_) return false;
  if (!is_aligned(table, header_.cluster_size())) return ++unaligned_ <= kUnalignedMax;
  const std::uint64_t cluster = table >> header_.cluster_bits;
  if (seen_.get(cluster) != 0) return false;
  seen_.set(cluster, 1);
  return true;
}

Task<void> L1Walk::visit(L1Visit visit) {
  Queued queued{.visit = visit, .slot = kUnread};
  if (must_read(visit.table())) {
    queued.slot = offsets_.size();
    offsets_.push_back(visit.table());
  }
  queue_.push_back(queued);
  if (offsets_.size() == batch_.capacity() || queue_.size() == kQueueMax) co_await finish();
}

Task<void> L1Walk::finish() {
  co_await batch_.read(offsets_);
  for (const Queued& queued : queue_) {
    visitor_.on_entry(queued.visit);
    const std::uint64_t offset = queued.visit.table();
    if (queued.slot == kUnread) {
      if (offset >= file_size_ || !is_aligned(offset, header_.cluster_size())) continue;
      visitor_.on_known_table(queued.visit);
      const auto known = faulty_.find(offset);
      if (known == faulty_.end()) continue;
      known->second.tell(messages_);
      corruptions_ += known->second.corruptions() * queued.visit.weight;
      continue;
    }
    TableFaults faults;
    Result<void> looked_at =
        co_await visitor_.on_table(queued.visit, batch_.table(queued.slot), faults).result();
    faults.tell(messages_);
    co_await std::move(looked_at);
    if (faults.corruptions() == 0) continue;
    corruptions_ += faults.corruptions() * queued.visit.weight;
    if (faulty_.size() == kFaultyMax) continue;
    faults.forget_repaired();
    if (messages_.full()) faults.forget_messages();
    faulty_.emplace(offset, std::move(faults));
  }
  queue_.clear();
  offsets_.clear();
}

}  // namespace platter::qcow2
