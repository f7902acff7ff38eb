#include "formats/qcow2/table_memo.h"

#include "formats/qcow2/table_batch.h"

namespace platter::qcow2 {

TableMemo::Run TableMemo::run_at(std::span<const std::byte> table,
                                 std::size_t index) const noexcept {
  const std::size_t words = table.size() / sizeof(std::uint64_t);
  Run run{.first = table_word(table, index), .step = 0, .count = 1};
  if (index + 1 == words) return run;
  run.step = table_word(table, index + 1) - run.first;
  if (run.step != 0 && run.step != cluster_size_) {
    run.step = 0;
    return run;
  }
  std::uint64_t expected = run.first + run.step;
  while (index + run.count < words && table_word(table, index + run.count) == expected) {
    ++run.count;
    expected += run.step;
  }
  return run;
}

void TableMemo::remember(std::uint64_t place, std::span<const std::byte> table) {
  forget(place);
  const std::size_t words = table.size() / sizeof(std::uint64_t);
  const std::size_t begin = runs_.size();
  for (std::size_t index = 0; index < words;) {
    if (runs_.size() - begin == kRunsMax || runs_.size() == kMemoryRuns) {
      runs_.resize(begin);
      return;
    }
    runs_.push_back(run_at(table, index));
    index += runs_.back().count;
  }
  known_.emplace(place, Place{.begin = begin, .count = runs_.size() - begin});
}

void TableMemo::recall(std::uint64_t place, std::span<std::byte> into) const {
  const Place known = known_.find(place)->second;
  std::size_t index = 0;
  for (const Run& run : std::span(runs_).subspan(known.begin, known.count)) {
    std::uint64_t word = run.first;
    for (std::size_t i = 0; i < run.count; ++i, word += run.step)
      set_table_word(into, index++, word);
  }
}

}  // namespace platter::qcow2
