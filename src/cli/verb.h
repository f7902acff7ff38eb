// The table of verbs: parsing, --help, manual pages and shell completion are made from it.
#pragma once

#include <span>
#include <string_view>

#include "src/cli/arguments.h"
#include "src/cli/context.h"

namespace platter::cli {

struct ExitCode {
  int code;
  std::string_view meaning;
};

struct Example {
  std::string_view command;  ///< without the program's name
  std::string_view purpose;  ///< one line
};

inline constexpr ExitCode kUsualExits[] = {{kExitOk, "success"}, {kExitError, "failure"}};

struct Verb {
  std::string_view name;
  std::string_view operands;  ///< as --help shows them
  std::string_view help;      ///< one line
  std::span<const Option> options;
  int (*run)(Context&, const Arguments&);
  /// The first word after the options may be a negative size ("resize x -1G").
  bool last_may_be_negative = false;
  int usage_exit = kExitError;
  int object_exit = kExitError;  ///< of a wrong --object
  // For the manual, and for --help but for the description.
  std::string_view description = {};  ///< paragraphs, an empty line between two
  std::span<const ExitCode> exit_codes = kUsualExits;
  std::span<const Example> examples = {};
};

extern const Verb kAmend;
extern const Verb kBench;
extern const Verb kBitmap;
extern const Verb kCache;
extern const Verb kCheck;
extern const Verb kChecksum;
extern const Verb kClone;
extern const Verb kCommit;
extern const Verb kCompare;
extern const Verb kConvert;
extern const Verb kCreate;
extern const Verb kDd;
extern const Verb kDeprovision;
extern const Verb kDump;
extern const Verb kExtract;
extern const Verb kInfo;
extern const Verb kInspect;
extern const Verb kIo;
extern const Verb kMap;
extern const Verb kMeasure;
extern const Verb kProvision;
extern const Verb kRebase;
extern const Verb kResize;
extern const Verb kSnapshot;
extern const Verb kVolume;

/// A program of this name is the verb io, as the tool that it stands for.
inline constexpr std::string_view kLinkedIo = "qemu-io";

/// All of them, by name.
std::span<const Verb* const> verbs();
/// The one of that name, or nullptr.
const Verb* find_verb(std::string_view name);

}  // namespace platter::cli
