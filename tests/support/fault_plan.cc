#include "tests/support/fault_plan.h"

#include <algorithm>
#include <limits>

namespace platter::test {

std::uint64_t Fault::part_of(std::uint64_t length) const noexcept {
  switch (error) {
    case Error::before: return 0;
    case Error::midway: return std::min(bytes.value_or(length / 2), length);
    case Error::after:
    case Error::none: return length;
  }
  return 0;
}

FaultPlan& FaultPlan::at(std::uint64_t n, Fault fault) {
  rules_.push_back({.kind = std::nullopt, .first = n, .last = n, .fault = fault});
  return *this;
}

FaultPlan& FaultPlan::at(FileOperation kind, std::uint64_t n, Fault fault) {
  rules_.push_back({.kind = kind, .first = n, .last = n, .fault = fault});
  return *this;
}

FaultPlan& FaultPlan::from(std::uint64_t n, Fault fault) {
  constexpr std::uint64_t kForever = std::numeric_limits<std::uint64_t>::max();
  rules_.push_back({.kind = std::nullopt, .first = n, .last = kForever, .fault = fault});
  return *this;
}

FaultPlan& FaultPlan::sometimes(double probability, std::uint64_t seed, Fault fault) {
  chances_.push_back({.probability = probability, .random = std::mt19937_64(seed), .fault = fault});
  return *this;
}

std::optional<Fault> FaultPlan::next(FileOperation kind) {
  const std::uint64_t of_all = count_++;
  const std::uint64_t of_kind = counts_[static_cast<std::size_t>(kind)]++;
  std::optional<Fault> chosen;
  for (const Rule& rule : rules_) {
    const std::uint64_t n = rule.kind ? of_kind : of_all;
    const bool applies = (!rule.kind || *rule.kind == kind) && n >= rule.first && n <= rule.last;
    if (applies && !chosen) chosen = rule.fault;
  }
  // Every chance is drawn every time: what one rule does never shifts another's dice.
  for (Chance& chance : chances_) {
    constexpr double kRange = 18446744073709551616.0;  // 2^64
    const bool applies = static_cast<double>(chance.random()) < chance.probability * kRange;
    if (applies && !chosen) chosen = chance.fault;
  }
  if (chosen) ++faults_;
  return chosen;
}

}  // namespace platter::test
