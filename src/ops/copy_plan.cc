#include "src/ops/copy_plan.h"

#include <algorithm>
#include <utility>

#include "io/bytes.h"
#include "io/check.h"

namespace platter {

CopyPlanner::CopyPlanner(const CopyPlanOptions& options) : options_(options) {
  PLATTER_CHECK(options.alignment <= options.chunk);
}

std::uint64_t CopyPlanner::aligned_end(std::uint64_t offset) const noexcept {
  // Near 2^63 a sum can't overflow 64 bits: sizes are at most 2^63 - 1.
  return std::min(align_up(offset, options_.alignment), options_.image_size);
}

CopyPlanner::Run CopyPlanner::widened(const Mapping& mapping) const noexcept {
  const std::uint64_t end = mapping.offset + mapping.length;
  Run run{.data = true,
          .begin = align_down(mapping.offset, options_.alignment),
          .end = aligned_end(end)};
  const bool exact = run.begin == mapping.offset && run.end == end;
  if (exact && mapping.kind == MappingKind::data) {
    run.file = mapping.file;
    run.file_offset = mapping.file_offset;
  }
  return run;
}

void CopyPlanner::add(const Mapping& mapping) {
  if (options_.keep_backing && mapping.kind == MappingKind::unallocated) {
    add_skip(mapping.offset + mapping.length);
    return;
  }
  const bool reads_as_zeroes =
      mapping.kind == MappingKind::zero || mapping.kind == MappingKind::unallocated;
  if (reads_as_zeroes && !options_.copy_zeroes) {
    add_zero(mapping.offset + mapping.length);
  } else {
    add_data(widened(mapping));
  }
}

void CopyPlanner::add_zero(std::uint64_t end) {
  if (end <= covered_) return;  // data was widened over it
  if (gap_) {
    gap_->end = end;
  } else if (open_ && !open_->data) {
    open_->end = end;
  } else if (open_) {
    gap_ = Run{.begin = covered_, .end = end};
  } else {
    open_ = Run{.begin = covered_, .end = end};
  }
  covered_ = end;
  if (gap_ && end - gap_->begin >= options_.gap_max + options_.alignment) {
    // Too long to be read through, whatever follows: the data before it is decided.
    settled_.push_back(*open_);
    open_ = std::exchange(gap_, std::nullopt);
  }
}

void CopyPlanner::add_skip(std::uint64_t end) {
  if (end <= covered_) return;
  settle();
  settled_.push_back({.skip = true, .begin = covered_, .end = end});
  covered_ = end;
}

void CopyPlanner::add_data(Run run) {
  if (run.end <= covered_ && (!open_ || open_->data) && !gap_) return;  // within the block before
  if (open_ && open_->data && !gap_ && run.begin < covered_) {
    run.begin = covered_;  // the block that both touch was taken by the run before, as a whole
    run.file = nullptr;
  }
  if (!join(run)) {
    std::optional<Run>& zeroes = gap_ ? gap_ : open_;
    if (zeroes && !zeroes->data) zeroes->end = run.begin;
    settle();
    open_ = run;
  }
  covered_ = run.end;
  settle_whole_chunks();
}

// Nothing that follows changes them. What ends open_ stays, so that a run can be joined to it.
void CopyPlanner::settle_whole_chunks() {
  const std::uint64_t boundary = align_down(open_->end - 1, options_.chunk);
  if (boundary <= open_->begin) return;
  Run whole = *open_;
  whole.end = boundary;
  settled_.push_back(whole);
  if (open_->file != nullptr) open_->file_offset += boundary - open_->begin;
  open_->begin = boundary;
}

// Makes `run` part of the data in open_ if that saves a request or spares a tiny zero run.
bool CopyPlanner::join(const Run& run) {
  if (!open_ || !open_->data) return false;
  if (gap_ && run.begin - gap_->begin >= options_.gap_max) return false;
  const std::uint64_t length = open_->end - open_->begin;
  const bool one_piece = !gap_ && open_->file != nullptr && open_->file == run.file &&
                         open_->file_offset + length == run.file_offset;
  if (!one_piece && !gap_) return false;
  if (!one_piece) open_->file = nullptr;
  open_->end = run.end;
  gap_.reset();
  return true;
}

void CopyPlanner::settle() {
  if (open_ && open_->begin < open_->end) settled_.push_back(*open_);
  if (gap_ && gap_->begin < gap_->end) settled_.push_back(*gap_);
  open_.reset();
  gap_.reset();
}

void CopyPlanner::finish() { settle(); }

std::optional<CopyStep> CopyPlanner::next() {
  if (settled_.empty()) return std::nullopt;
  Run& run = settled_.front();
  CopyStep step{.action = CopyAction::copy, .offset = run.begin, .file = run.file};
  if (run.data) {
    const std::uint64_t chunk_end = align_down(run.begin, options_.chunk) + options_.chunk;
    step.length = std::min(run.end, chunk_end) - run.begin;
    step.file_offset = run.file_offset;
  } else if (run.skip || (options_.target_is_zero && run.begin >= options_.zero_from)) {
    step.action = CopyAction::skip;
    step.length = run.end - run.begin;
  } else {
    step.action = CopyAction::zero;
    step.length = std::min(run.end - run.begin, options_.zero_chunk);
    if (options_.target_is_zero) {
      step.length = std::min(step.length, options_.zero_from - run.begin);
    }
  }
  run.begin += step.length;
  run.file_offset += run.file != nullptr ? step.length : 0;
  if (run.begin == run.end) settled_.pop_front();
  return step;
}

}  // namespace platter
