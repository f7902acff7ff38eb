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
  Walk(const TableTree& tree, File& file, std::function<bool(std::size_t)> wanted, Visit visit,
       const CancelToken* cancel)
      : tree_(tree),
        file_(file),
        wanted_(std::move(wanted)),
        visit_(std::move(visit)),
        cancel_(cancel) {}

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
  std::vector<Piece> pieces(std::size_t first, std::size_t last, std::byte* memory,
                            const std::vector<bool>* changed) const;
  Task<void> read_piece(Piece piece) { return read_zero_filled(file_, piece.offset, piece.bytes); }
  Task<void> write_piece(Piece piece) { return file_.write(piece.offset, piece.bytes); }

  const TableTree& tree_;
  File& file_;
  std::function<bool(std::size_t)> wanted_;
  Visit visit_;
  const CancelToken* cancel_;
  std::size_t next_group_ = 0;
  bool failed_ = false;
};

Task<void> TableTree::Walk::work_until_done() {
  const std::size_t tables = std::min(tree_.group_tables_, tree_.tables_.size());
  const std::unique_ptr<std::byte, Release> memory(
      static_cast<std::byte*>(::operator new(tables * tree_.table_size_, std::align_val_t{4096})));
  while (!failed_ && next_group_ < tree_.group_count()) {
    const std::size_t group = next_group_++;
    if (wanted_ && !wanted_(group)) continue;
    if (cancel_ != nullptr) co_await cancel_->check();
    co_await do_group(group, memory.get());
  }
}

// Tables [first, last) as requests: neighbours in the file together.
std::vector<TableTree::Walk::Piece> TableTree::Walk::pieces(
    std::size_t first, std::size_t last, std::byte* memory,
    const std::vector<bool>* changed) const {
  std::vector<Piece> found;
  for (std::size_t i = first; i < last; ++i) {
    if (changed != nullptr && !(*changed)[i - first]) continue;
    std::byte* const at = memory + (i - first) * tree_.table_size_;
    Piece* const piece = found.empty() ? nullptr : &found.back();
    if (piece != nullptr && piece->offset + piece->bytes.size() == tree_.tables_[i] &&
        piece->bytes.data() + piece->bytes.size() == at) {
      piece->bytes = {piece->bytes.data(), piece->bytes.size() + tree_.table_size_};
    } else {
      found.push_back({tree_.tables_[i], {at, tree_.table_size_}});
    }
  }
  return found;
}

Task<void> TableTree::Walk::do_group(std::size_t group, std::byte* memory) {
  const std::size_t first = group * tree_.group_tables_;
  const std::size_t last = std::min(first + tree_.group_tables_, tree_.tables_.size());
  const auto read_all = [&](TaskGroup& requests) -> Task<void> {
    for (const Piece& piece : pieces(first, last, memory, nullptr)) {
      co_await requests.spawn(read_piece(piece));
    }
  };
  co_await with_group(kRequestsOfGroup, read_all);
  std::vector<bool> changed(last - first);
  for (std::size_t i = first; i < last; ++i) {
    const std::span<std::byte> bytes(memory + (i - first) * tree_.table_size_, tree_.table_size_);
    const Result<bool> visited = visit_(i, bytes);
    if (!visited) co_await fail(visited.error().clone());
    changed[i - first] = *visited;
  }
  const auto write_all = [&](TaskGroup& requests) -> Task<void> {
    for (const Piece& piece : pieces(first, last, memory, &changed)) {
      co_await requests.spawn(write_piece(piece));
    }
  };
  co_await with_group(kRequestsOfGroup, write_all);
}

Task<void> TableTree::visit(File& file, std::function<bool(std::size_t)> wanted, Visit visit,
                            const CancelToken* cancel) const {
  Walk walk(*this, file, std::move(wanted), std::move(visit), cancel);
  co_await walk.run();
}

}  // namespace platter::qcow2
