#include "tests/support/random_ops.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include <gtest/gtest.h>

#include "io/bytes.h"

namespace platter::test {

std::uint64_t test_seed() {
  const char* given = std::getenv("PLATTER_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device()();
  std::cout << "PLATTER_SEED=" << seed << std::endl;
  return seed;
}

void fill_random(std::span<std::byte> bytes, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  while (!bytes.empty()) {
    const std::uint64_t word = random();
    const std::size_t count = std::min(bytes.size(), sizeof word);
    std::memcpy(bytes.data(), &word, count);
    bytes = bytes.subspan(count);
  }
}

std::vector<std::byte> random_bytes(std::size_t count, std::uint64_t seed) {
  std::vector<std::byte> bytes(count);
  fill_random(bytes, seed);
  return bytes;
}

std::string to_string(const FileStep& step) {
  std::string text(to_string(step.operation));
  if (step.operation == FileOperation::flush) return text;
  text += " " + std::to_string(step.offset);
  if (step.operation == FileOperation::truncate) return text;
  text += "+" + std::to_string(step.length);
  if (step.operation == FileOperation::write) text += " seed " + std::to_string(step.data_seed);
  if (step.operation == FileOperation::write_zeroes) {
    text += step.mode == ZeroMode::may_unmap ? " may_unmap" : " keep_allocated";
  }
  return text;
}

std::uint64_t RandomSteps::pick_offset(std::uint64_t size, std::uint64_t limit) {
  std::uint64_t offset = 0;
  switch (below(4)) {
    case 0: offset = below(limit); break;
    case 1: offset = align_down(below(limit), 512); break;
    case 2: offset = align_down(below(limit), 4096) + (below(2) != 0 ? 1 : 4095); break;
    default: offset = size - std::min(size, below(9000)); break;
  }
  return std::min(align_down(offset, options_.alignment), limit);
}

std::uint64_t RandomSteps::pick_length() {
  std::uint64_t length = 0;
  switch (below(4)) {
    case 0: length = 1 + below(options_.length_max); break;
    case 1: length = 1 + below(600); break;
    case 2: length = 512 * (1 + below(options_.length_max / 512)); break;
    default: length = 4096 * (1 + below(options_.length_max / 4096)); break;
  }
  return align_up(length, options_.alignment);
}

FileStep RandomSteps::next(std::uint64_t size) {
  const std::uint64_t limit = options_.fixed_size ? size : options_.size_max;
  FileStep step;
  constexpr FileOperation kChoices[] = {FileOperation::write,        FileOperation::write,
                                        FileOperation::write,        FileOperation::write,
                                        FileOperation::read,         FileOperation::read,
                                        FileOperation::write_zeroes, FileOperation::discard,
                                        FileOperation::truncate,     FileOperation::flush};
  step.operation = kChoices[below(std::size(kChoices))];
  if (options_.fixed_size && step.operation == FileOperation::truncate) {
    step.operation = FileOperation::write;
  }
  step.data_seed = random_();
  step.mode = below(2) != 0 ? ZeroMode::may_unmap : ZeroMode::keep_allocated;
  step.offset = pick_offset(size, limit);
  step.length = pick_length();
  if (step.operation == FileOperation::flush) return step;
  if (step.operation == FileOperation::truncate) {
    step.length = 0;
    return step;
  }
  if (step.operation == FileOperation::read) return step;
  step.length = std::min(step.length, limit - step.offset);
  return step;
}

void FileModel::apply(const FileStep& step) {
  const auto at = [](auto& sequence, std::uint64_t offset) {
    return sequence.begin() + static_cast<std::ptrdiff_t>(offset);
  };
  switch (step.operation) {
    case FileOperation::write:
    case FileOperation::write_zeroes: {
      if (step.length == 0) return;
      const std::uint64_t end = step.offset + step.length;
      if (end > bytes_.size()) {
        bytes_.resize(end);
        known_.resize(end, true);
      }
      if (step.operation == FileOperation::write) {
        std::ranges::copy(step.data(), at(bytes_, step.offset));
      } else {
        std::fill(at(bytes_, step.offset), at(bytes_, end), std::byte{0});
      }
      std::fill(at(known_, step.offset), at(known_, end), true);
      return;
    }
    case FileOperation::discard: {
      if (step.offset >= bytes_.size()) return;
      const std::uint64_t end =
          step.offset + std::min<std::uint64_t>(step.length, bytes_.size() - step.offset);
      std::fill(at(known_, step.offset), at(known_, end), false);
      return;
    }
    case FileOperation::truncate:
      bytes_.resize(step.offset);
      known_.resize(step.offset, true);
      return;
    default: return;
  }
}

std::string FileModel::difference(std::uint64_t offset, std::span<const std::byte> actual) const {
  if (!actual.empty() && offset + actual.size() > bytes_.size()) {
    return "there is data up to offset " + std::to_string(offset + actual.size()) +
           ", and the size should be " + std::to_string(bytes_.size());
  }
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (!known_[offset + i] || bytes_[offset + i] == actual[i]) continue;
    std::size_t count = 0;
    for (std::size_t j = i; j < actual.size(); ++j) {
      if (known_[offset + j] && bytes_[offset + j] != actual[j]) ++count;
    }
    return "the byte at offset " + std::to_string(offset + i) + " is " +
           std::to_string(std::to_integer<int>(actual[i])) + " and should be " +
           std::to_string(std::to_integer<int>(bytes_[offset + i])) + "; " + std::to_string(count) +
           " bytes differ";
  }
  return {};
}

std::string FileModel::settle(const FileStep& step, std::vector<std::byte> actual) {
  FileModel after = *this;
  after.apply(step);
  const auto [smallest, largest] = std::minmax({size(), after.size()});
  std::string wrong;
  if (actual.size() < smallest || actual.size() > largest) {
    wrong = "the size is " + std::to_string(actual.size());
  }
  // What lies past one of the two sizes is as good as zeroes there.
  const auto allows = [](const FileModel& model, std::uint64_t at, std::byte byte) {
    if (at >= model.size()) return byte == std::byte{0};
    return !model.known_[at] || model.bytes_[at] == byte;
  };
  for (std::uint64_t i = 0; i < actual.size() && wrong.empty(); ++i) {
    if (!allows(*this, i, actual[i]) && !allows(after, i, actual[i])) {
      wrong = "the byte at offset " + std::to_string(i) + " is neither old nor new";
    }
  }
  *this = FileModel(std::move(actual));
  return wrong;
}

namespace {

Task<void> perform_read(File& file, const FileModel& model, const FileStep& step) {
  std::vector<std::byte> into(step.length);
  const std::size_t count = co_await file.read(step.offset, into);
  const std::uint64_t there = model.size() - std::min(model.size(), step.offset);
  EXPECT_EQ(count, std::min<std::uint64_t>(step.length, there)) << to_string(step);
  EXPECT_EQ(model.difference(step.offset, std::span(into).first(count)), "") << to_string(step);
}

}  // namespace

Task<void> perform(File& file, FileModel& model, FileStep step) {
  switch (step.operation) {
    case FileOperation::read: co_await perform_read(file, model, step); break;
    case FileOperation::write: {
      const std::vector<std::byte> data = step.data();
      co_await file.write(step.offset, data);
      break;
    }
    case FileOperation::flush: co_await file.flush(); break;
    case FileOperation::write_zeroes:
      co_await file.write_zeroes(step.offset, step.length, step.mode);
      break;
    case FileOperation::discard: co_await file.discard(step.offset, step.length); break;
    case FileOperation::truncate: co_await file.truncate(step.offset); break;
    default: co_await fail(ErrorKind::invalid_argument, "not a step: " + to_string(step));
  }
  model.apply(step);
}

Task<std::vector<std::byte>> read_all(File& file) {
  std::vector<std::byte> bytes(co_await file.size());
  co_await read_exactly(file, 0, bytes);
  co_return bytes;
}

}  // namespace platter::test
