// What the parts of `platter volume` share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "crypto/volume_group.h"
#include "crypto/wipe.h"
#include "src/cli/arguments.h"
#include "src/cli/context.h"

namespace platter::cli {

/// "GROUP/VOLUME", or "/dev/GROUP/VOLUME".
struct VolumeName {
  VolumeGroup group;
  std::string volume;

  std::string path() const { return group.path_of(volume); }
  /// What Nova calls the decrypted device.
  std::string mapping() const { return volume + "-dmcrypt"; }
};
/// Errors: invalid_argument.
Result<VolumeName> parse_volume_name(std::string_view text);

/// What follows `volume`: the words after the sub-verb's own name, with their number checked.
struct SubVerb {
  std::string_view name;
  std::string_view operands;
  std::size_t operands_min;
  std::size_t operands_max;
  int (*run)(Context&, const Arguments&);
};

/// The operand at `index`, after the sub-verb's name; empty if there is none.
std::string operand(const Arguments& arguments, std::size_t index);
/// Errors: invalid_argument, too_large.
Result<std::uint64_t> size_operand(const std::string& text);

int volume_list(Context& context, const Arguments& arguments);
int volume_create(Context& context, const Arguments& arguments);
int volume_snapshot(Context& context, const Arguments& arguments);
int volume_extend(Context& context, const Arguments& arguments);
int volume_wipe(Context& context, const Arguments& arguments);
int volume_remove(Context& context, const Arguments& arguments);
int volume_format(Context& context, const Arguments& arguments);
int volume_open(Context& context, const Arguments& arguments);
int volume_close(Context& context, const Arguments& arguments);

}  // namespace platter::cli
