#include "formats/qcow2/copied_check.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "formats/qcow2/cluster_type.h"
#include "formats/qcow2/l1_walk.h"
#include "formats/qcow2/metadata_guard.h"
#include "formats/qcow2/refcount_compare.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kCopied = std::uint64_t{1} << 63;
constexpr std::uint64_t kWord = sizeof(std::uint64_t);
// L1 entries are written in pieces of this size.
constexpr std::uint64_t kSectorWords = kSectorSize / kWord;

class CopiedCheck final : L1Visitor {
 public:
  CopiedCheck(CheckRun& run, bool fix)
      : run_(run),
        fix_(fix),
        word_(fix ? "Repairing" : "ERROR"),
        walk_(run.header, run.file, run.file_size, *this, run.messages, run.report.corruptions,
              run.cancel),
        distant_(run) {}

  Task<void> check_all();

 private:
  void on_entry(const L1Visit&) override {}
  Task<void> on_table(const L1Visit& visit, std::span<std::byte> table,
                      TableFaults& faults) override;
  void on_known_table(const L1Visit&) override {}

  Task<void> check_l1_entry(std::size_t index);
  Task<std::optional<std::uint64_t>> count_of(std::uint64_t cluster);
  template <class Width>
  bool is_sound(Width width, std::span<const std::byte> table) const;
  Task<std::uint64_t> check_entries(std::span<std::byte> table, TableFaults& faults);
  Task<void> write_l1_sectors();

  CheckRun& run_;
  bool fix_;
  const char* word_;
  L1Walk walk_;
  DistantRefcounts distant_;
  std::set<std::uint64_t> l1_sectors_;  // that hold a corrected entry
};

Task<std::optional<std::uint64_t>> CopiedCheck::count_of(std::uint64_t cluster) {
  if (cluster < run_.clusters) co_return run_.counts.get(cluster);
  co_return co_await distant_.get(cluster);
}

Task<void> CopiedCheck::check_l1_entry(std::size_t index) {
  const std::uint64_t entry = run_.l1[index];
  const std::uint64_t table = L1Entry(entry).offset();
  const auto count = co_await count_of(table >> run_.header.cluster_bits);
  if (!count || (*count == 1) == ((entry & kCopied) != 0)) co_return;
  co_await walk_.finish();  // what is wrong before it is told before it
  run_.messages.add(fmt::format("{} OFLAG_COPIED L2 cluster: l1_index={} l1_entry={:x} refcount={}",
                                word_, index, entry, *count));
  if (!fix_) {
    ++run_.report.corruptions;
    co_return;
  }
  run_.l1[index] ^= kCopied;
  l1_sectors_.insert(index / kSectorWords);
  ++run_.report.corruptions_fixed;
}

// True if every entry is plain and has the right flag: nothing else needs to be known of it then.
template <class Width>
bool CopiedCheck::is_sound(Width width, std::span<const std::byte> table) const {
  const std::size_t stride = run_.header.extended_l2() ? 2 : 1;
  const bool in_this_file = !run_.header.has_data_file();
  const bool has_zero_flag = !run_.header.extended_l2();
  for (std::size_t word = 0; word < table.size() / kWord; word += stride) {
    const std::uint64_t raw = table_word(table, word);
    if ((raw & ~(kCopied | 1)) == 0 && (raw & kCopied) == 0) continue;
    const L2Entry entry(raw, 0);
    if (entry.compressed()) continue;
    const std::uint64_t cluster = entry.offset() >> run_.header.cluster_bits;
    if (cluster == 0 || (entry.zero_flag() && !has_zero_flag)) return false;
    if (in_this_file && cluster >= run_.clusters) return false;
    const bool single = !in_this_file || width.get(run_.counts.data(), cluster) == 1;
    if (single != entry.copied()) return false;
  }
  return true;
}

// Returns how many flags were corrected in `table`.
Task<std::uint64_t> CopiedCheck::check_entries(std::span<std::byte> table, TableFaults& faults) {
  const std::size_t stride = run_.header.extended_l2() ? 2 : 1;
  std::uint64_t corrected = 0;
  for (std::size_t word = 0; word < table.size() / kWord; word += stride) {
    const std::uint64_t raw = table_word(table, word);
    const L2Entry entry(raw, 0);
    if (!has_place(cluster_type(run_.header, entry))) continue;
    std::optional<std::uint64_t> count = 1;
    if (!run_.header.has_data_file()) {
      count = co_await count_of(entry.offset() >> run_.header.cluster_bits);
    }
    if (!count || (*count == 1) == entry.copied()) continue;
    std::string message =
        fmt::format("{} OFLAG_COPIED data cluster: l2_entry={:x} refcount={}", word_, raw, *count);
    if (fix_) {
      faults.add_repaired(std::move(message));
      set_table_word(table, word, raw ^ kCopied);
      ++corrected;
    } else {
      faults.add(std::move(message));
    }
  }
  co_return corrected;
}

Task<void> CopiedCheck::on_table(const L1Visit& visit, std::span<std::byte> table,
                                 TableFaults& faults) {
  const bool sound = with_refcount_width(run_.header.refcount_order,
                                         [&](auto width) { return is_sound(width, table); });
  if (sound) co_return;
  const std::uint64_t corrected = co_await check_entries(table, faults);
  if (corrected == 0) co_return;
  co_await check_free_of_metadata(run_, visit.table(), table.size(), "L2 table");
  co_await run_.file.write(visit.table(), table);
  run_.report.corruptions_fixed += corrected;
}

Task<void> CopiedCheck::write_l1_sectors() {
  if (l1_sectors_.empty()) co_return;
  for (const std::uint64_t sector : l1_sectors_) {
    const std::size_t first = sector * kSectorWords;
    const std::size_t count = std::min<std::size_t>(kSectorWords, run_.l1.size() - first);
    std::vector<std::byte> bytes(count * kWord);
    for (std::size_t i = 0; i < count; ++i) set_table_word(bytes, i, run_.l1[first + i]);
    co_await run_.file.write(run_.header.l1_table_offset + first * kWord, bytes);
  }
}

Task<void> CopiedCheck::check_all() {
  co_await walk_.prepare();
  for (std::size_t i = 0; i < run_.l1.size(); ++i) {
    if (L1Entry(run_.l1[i]).offset() == 0) continue;
    co_await check_l1_entry(i);
    const L1Visit visit{.entry = run_.l1[i], .index = i};
    co_await walk_.visit(visit);
  }
  co_await walk_.finish();
  co_await write_l1_sectors();
}

}  // namespace

Task<void> check_copied_flags(CheckRun& run, bool fix) {
  CopiedCheck check(run, fix);
  co_await check.check_all();
}

}  // namespace platter::qcow2
