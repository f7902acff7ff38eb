#include "formats/qcow2/table_tree.h"

#include <algorithm>
#include <memory>
#include <new>

#include <fmt/format.h>

#include "io/bytes.h"
#include "io/task_group.h"

namespace platter::qcow2 {

Result<TableTree> TableTree::make(const Header& header, std::span<const std::uint64_t> l1,
                                  const std::string& file) {
  TableTree tree(header.cluster_size());
  for (std::size_t i = 0; i < l1.size(); ++i) {
    const std::uint64_t table = L1Entry(l1[i]).offset();
    if (table == 0) continue;
    if (!is_aligned(table, header.cluster_size())) {
      return fail(
          ErrorKind::corrupt_image,
          fmt::format("'{}': L2 table offset {:#x} (L1 index {}) is not possible", file, table, i));
    }
    tree.tables_.push_back(table);
  }
  std::ranges::sort(tree.tables_);
  const auto unique = std::ranges::adjacent_find(tree.tables_);
  if (unique == tree.tables_.end()) return tree;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < tree.tables_.size();) {
    std::size_t next = i + 1;
    while (next < tree.tables_.size() && tree.tables_[next] == tree.tables_[i]) ++next;
    tree.tables_[kept++] = tree.tables_[i];
    tree.weights_.push_back(static_cast<std::uint32_t>(next - i));
    i = next;
  }
  tree.tables_.resize(kept);
  return tree;
}

// One pass over the tree: each worker reads a group, has it looked at, writes it, takes the next.
class TableTree::Walk {
 public:
  Walk(const TableTree& tree, File& file, Visit visit, Pass pass)
      : tree_(tree), file_(file), visit_(std::move(visit)), pass_(std::move(pass)) {}

  Task<void> run() {
    const std::size_t workers = std::min(kGroupsAtOnce, tree_.group_count());
    if (workers == 0) co_return;
    const auto start = [&](TaskGroup& group) -> Task<void> {
      for (std::size_t i = 0; i < workers; ++i) co_await group.spawn(work());
    };
    co_await with_group(workers, start);
  }

 private:
  struct Release {
    void operator()(std::byte* memory) const noexcept {
      ::operator delete(memory, std::align_val_t{4096});
    }
  };
  struct Piece {
    std::uint64_t offset;
    std::span<std::byte> bytes;
  };

  Task<void> work() {
    Result<void> done = co_await work_until_done().result();
    failed_ = failed_ || !done;
    co_await std::move(done);
  }
  Task<void> work_until_done();
  Task<void> do_group(std::size_t group, std::byte* memory);
  std::span<std::byte> bytes_of(std::byte* memory, std::size_t index) const noexcept {
    return {memory + index * tree_.table_size_, tree_.table_size_};
  }
  std::vector<Piece> pieces(std::size_t first, std::byte* memory,
                            const std::vector<bool>& chosen) const;
  Task<void> read_tables(std::size_t first, std::size_t count, std::byte* memory);
  Task<void> read_piece(Piece piece) { return read_zero_filled(file_, piece.offset, piece.bytes); }
  Task<void> write_piece(Piece piece) { return file_.write(piece.offset, piece.bytes); }

  const TableTree& tree_;
  File& file_;
  Visit visit_;
  Pass pass_;
  std::size_t next_group_ = 0;
  bool failed_ = false;
};

Task<void> TableTree::Walk::work_until_done() {
  const std::size_t tables = std::min(tree_.group_tables_, tree_.tables_.size());
  const std::unique_ptr<std::byte, Release> memory(
      static_cast<std::byte*>(::operator new(tables * tree_.table_size_, std::align_val_t{4096})));
  while (!failed_ && next_group_ < tree_.group_count()) {
    const std::size_t group = next_group_++;
    if (pass_.wanted && !pass_.wanted(group)) continue;
    if (pass_.cancel != nullptr) co_await pass_.cancel->check();
    co_await do_group(group, memory.get());
  }
}

// Chosen tables of a group as requests: neighbours in the file together.
std::vector<TableTree::Walk::Piece> TableTree::Walk::pieces(std::size_t first, std::byte* memory,
                                                            const std::vector<bool>& chosen) const {
  std::vector<Piece> found;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (!chosen[i]) continue;
    const std::uint64_t place = tree_.tables_[first + i];
    std::byte* const at = memory + i * tree_.table_size_;
    Piece* const piece = found.empty() ? nullptr : &found.back();
    if (piece != nullptr && piece->offset + piece->bytes.size() == place &&
        piece->bytes.data() + piece->bytes.size() == at) {
      piece->bytes = {piece->bytes.data(), piece->bytes.size() + tree_.table_size_};
    } else {
      found.push_back({place, {at, tree_.table_size_}});
    }
  }
  return found;
}

Task<void> TableTree::Walk::read_tables(std::size_t first, std::size_t count, std::byte* memory) {
  std::vector<bool> unknown(count, true);
  for (std::size_t i = 0; pass_.memo != nullptr && i < count; ++i) {
    const std::uint64_t place = tree_.tables_[first + i];
    if (!pass_.memo->knows(place)) continue;
    pass_.memo->recall(place, bytes_of(memory, i));
    unknown[i] = false;
  }
  const auto read_all = [&](TaskGroup& requests) -> Task<void> {
    for (const Piece& piece : pieces(first, memory, unknown)) {
      co_await requests.spawn(read_piece(piece));
    }
  };
  co_await with_group(kRequestsOfGroup, read_all);
  for (std::size_t i = 0; pass_.memo != nullptr && i < count; ++i) {
    if (unknown[i]) pass_.memo->remember(tree_.tables_[first + i], bytes_of(memory, i));
  }
}

Task<void> TableTree::Walk::do_group(std::size_t group, std::byte* memory) {
  const std::size_t first = group * tree_.group_tables_;
  const std::size_t count = std::min(tree_.group_tables_, tree_.tables_.size() - first);
  co_await read_tables(first, count, memory);
  std::vector<bool> changed(count);
  for (std::size_t i = 0; i < count; ++i) {
    changed[i] = co_await visit_(first + i, bytes_of(memory, i));
    // Until it is written, and after a failure, nobody knows.
    if (changed[i] && pass_.memo != nullptr) pass_.memo->forget(tree_.tables_[first + i]);
  }
  const auto write_all = [&](TaskGroup& requests) -> Task<void> {
    for (const Piece& piece : pieces(first, memory, changed)) {
      co_await requests.spawn(write_piece(piece));
    }
  };
  co_await with_group(kRequestsOfGroup, write_all);
}

Task<void> TableTree::visit(File& file, Visit visit, Pass pass) const {
  Walk walk(*this, file, std::move(visit), std::move(pass));
  co_await walk.run();
}

}  // namespace platter::qcow2
