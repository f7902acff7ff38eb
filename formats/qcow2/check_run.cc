#include "formats/qcow2/check_run.h"

#include <algorithm>

#include "formats/qcow2/table_batch.h"

namespace platter::qcow2 {

Task<std::vector<std::uint64_t>> read_words(const CheckRun& run, std::uint64_t offset,
                                            std::uint64_t count) {
  constexpr std::uint64_t kWord = sizeof(std::uint64_t);
  const std::uint64_t there = offset < run.file_size ? (run.file_size - offset) / kWord : 0;
  std::vector<std::uint64_t> words(std::min(count, there));
  const auto bytes = std::as_writable_bytes(std::span(words));
  co_await read_zero_filled(run.file, offset, bytes);
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = table_word(bytes, i);
  co_return words;
}

}  // namespace platter::qcow2
