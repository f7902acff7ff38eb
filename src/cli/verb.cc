#include "src/cli/verb.h"

#include <algorithm>
#include <array>

namespace platter::cli {

std::span<const Verb* const> verbs() {
  static constexpr auto kVerbs = std::to_array<const Verb*>({
      &kAmend,   &kBench,   &kBitmap,   &kCache,  &kCheck, &kChecksum,    &kClone,
      &kCommit,  &kCompare, &kConvert,  &kCreate, &kDd,    &kDeprovision, &kDump,
      &kExtract, &kInfo,    &kInspect,  &kIo,     &kMap,   &kMeasure,     &kProvision,
      &kRebase,  &kResize,  &kSnapshot, &kVolume,
  });
  return kVerbs;
}

const Verb* find_verb(std::string_view name) {
  const auto all = verbs();
  const auto found = std::ranges::find(all, name, &Verb::name);
  return found == all.end() ? nullptr : *found;
}

}  // namespace platter::cli
