// The table of verbs.
#pragma once

#include <span>
#include <string_view>

#include "src/cli/arguments.h"
#include "src/cli/context.h"

namespace platter::cli {

struct Verb {
  std::string_view name;
  std::string_view operands;  ///< as --help shows them
  std::string_view help;      ///< one line
  std::span<const Option> options;
  int (*run)(Context&, const Arguments&);
  /// The first word after the options may be a negative size ("resize x -1G").
  bool last_may_be_negative = false;
  int usage_exit = kExitError;
};

extern const Verb kAmend;
extern const Verb kBench;
extern const Verb kBitmap;
extern const Verb kCheck;
extern const Verb kCompare;
extern const Verb kConvert;
extern const Verb kCreate;
extern const Verb kInfo;
extern const Verb kMap;
extern const Verb kMeasure;
extern const Verb kResize;
extern const Verb kSnapshot;
extern const Verb kVolume;

/// All of them, by name.
std::span<const Verb* const> verbs();

/// Text for `platter VERB --help`.
std::string verb_help(const Verb& verb, std::string_view program);

}  // namespace platter::cli
