// Which of the operations that were not flushed reached the disk before it lost power.
#pragma once

#include <cstdint>
#include <string>

namespace platter::test {

/// A value that stands for one crash: the same plan gives the same disk. Indices count the
/// unflushed operations of a CrashFile from 0, oldest first.
struct CrashPlan {
  enum class Kind : std::uint8_t {
    prefix,   ///< the first `number` operations, in order, whole; nothing else
    all_but,  ///< all except the one with index `number`
    only,     ///< the one with index `number`, nothing else
    random,   ///< `number` is a seed: any subset in any order, perhaps torn into sectors
  };
  Kind kind = Kind::prefix;
  std::uint64_t number = 0;

  static CrashPlan prefix(std::uint64_t count) { return {Kind::prefix, count}; }
  static CrashPlan all_but(std::uint64_t index) { return {Kind::all_but, index}; }
  static CrashPlan only(std::uint64_t index) { return {Kind::only, index}; }
  static CrashPlan random(std::uint64_t seed) { return {Kind::random, seed}; }
};

/// As one would write it in a test: "CrashPlan::prefix(3)".
inline std::string to_string(const CrashPlan& plan) {
  constexpr const char* kNames[] = {"prefix", "all_but", "only", "random"};
  return std::string("CrashPlan::") + kNames[static_cast<int>(plan.kind)] + "(" +
         std::to_string(plan.number) + ")";
}

}  // namespace platter::test
