#include "src/cli/volume.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "crypto/device_name.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOptions[] = {
    {'h', "help", "", "show this help"},
    {0, "output", "FORMAT", "list: human (default) or json"},
    {0, "kind", "KIND", "create: linear (default), thin-pool or thin"},
    {0, "pool", "POOL", "create: the thin volume's pool"},
    {0, "wipe", "METHOD", "wipe, remove: none, zero, discard or random (remove: none)"},
    {0, "first", "SIZE", "wipe, remove: only so much from the start"},
    {0, "passes", "N", "wipe, remove: write everything over N times"},
    {'p', "", "", "wipe, remove: show progress"},
    {0, "type", "TYPE", "open: plain or luks (default); format: luks1 or luks2 (default)"},
    {0, "key-file", "FILE", "format, open: the passphrase; - is standard input"},
    {0, "cipher", "CIPHER", "format, open --type=plain: default aes-xts-plain64"},
    {0, "key-size", "BITS", "format, open --type=plain: default 512"},
    {0, "hash", "HASH", "format: default sha256; open --type=plain: default ripemd160"},
    {0, "sector-size", "BYTES", "format, open --type=plain: 512 (default) to 4096"},
    {0, "iter-time", "MS", "format: how long a passphrase takes to try, default 2000"},
    {0, "readonly", "", "open: the device can't be written"},
    {0, "allow-discards", "", "open: discards reach the volume"},
    {0, "deferred", "", "close: when its last user closes it, if it is in use"},
};

constexpr SubVerb kSubVerbs[] = {
    {"list", "[GROUP]", 0, 1, volume_list},
    {"create", "GROUP/VOLUME SIZE", 2, 2, volume_create},
    {"snapshot", "GROUP/ORIGIN NAME [SIZE]", 2, 3, volume_snapshot},
    {"extend", "GROUP/VOLUME [+]SIZE", 2, 2, volume_extend},
    {"wipe", "GROUP/VOLUME", 1, 1, volume_wipe},
    {"remove", "GROUP/VOLUME", 1, 1, volume_remove},
    {"format", "GROUP/VOLUME", 1, 1, volume_format},
    {"open", "GROUP/VOLUME [NAME]", 1, 2, volume_open},
    {"close", "NAME", 1, 1, volume_close},
};

std::string names_of_sub_verbs() {
  std::string names;
  for (const SubVerb& sub : kSubVerbs)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", sub.name);
  return names;
}

int run(Context& context, const Arguments& arguments) {
  const std::vector<std::string>& words = arguments.positional();
  if (words.empty()) {
    context.usage_error(fmt::format("volume: expecting one of {}", names_of_sub_verbs()));
    return kExitError;
  }
  const auto* const sub = std::ranges::find(kSubVerbs, words.front(), &SubVerb::name);
  if (sub == std::end(kSubVerbs)) {
    context.usage_error(
        fmt::format("volume: '{}' is not one of {}", words.front(), names_of_sub_verbs()));
    return kExitError;
  }
  const std::size_t count = words.size() - 1;
  if (count < sub->operands_min || count > sub->operands_max) {
    context.usage_error(fmt::format("volume {}: expecting {}", sub->name, sub->operands));
    return kExitError;
  }
  return sub->run(context, arguments);
}

constexpr Example kExamples[] = {
    {"volume create vg0/disk 20G", "a linear volume"},
    {"volume create --kind=thin --pool=pool vg0/disk 20G", "a thin one"},
    {"volume remove --wipe=zero vg0/disk", "zero it, then remove it"},
    {"volume open --key-file=- vg0/disk", "open a LUKS volume, passphrase on standard input"},
};

}  // namespace

std::string operand(const Arguments& arguments, std::size_t index) {
  const std::vector<std::string>& words = arguments.positional();
  return index + 1 < words.size() ? words[index + 1] : "";
}

Result<std::uint64_t> size_operand(const std::string& text) {
  Result<std::uint64_t> size = parse_size(text);
  if (size) return size;
  return fail(
      size.error().kind(),
      fmt::format("Invalid volume size '{}': bytes, or with a suffix k, M, G, T, P or E", text));
}

Result<VolumeName> parse_volume_name(std::string_view text) {
  std::string_view rest = text;
  if (rest.starts_with("/dev/")) rest.remove_prefix(5);
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos) {
    return fail(ErrorKind::invalid_argument, fmt::format("'{}' is not GROUP/VOLUME", text));
  }
  Result<VolumeGroup> group = VolumeGroup::named(std::string(rest.substr(0, slash)));
  if (!group) return fail(std::move(group.error()));
  const std::string_view volume = rest.substr(slash + 1);
  if (auto checked = check_volume_name("volume", volume); !checked) {
    return fail(std::move(checked.error()));
  }
  return VolumeName{*std::move(group), std::string(volume)};
}

const Verb kVolume{.name = "volume",
                   .operands = "list|create|snapshot|extend|wipe|remove|format|open|close ...",
                   .help = "Lists and changes LVM volumes, plain and encrypted",
                   .options = kOptions,
                   .run = run,
                   .description =
                       "Works on the volumes of LVM groups, in process: list [GROUP]; "
                       "create GROUP/VOLUME SIZE; snapshot GROUP/ORIGIN NAME [SIZE]; "
                       "extend GROUP/VOLUME [+]SIZE; wipe and remove GROUP/VOLUME. format, "
                       "open and close GROUP/VOLUME are for encryption: open makes a "
                       "mapping in /dev/mapper, of the name that follows or one made of "
                       "the volume's.\n\n"
                       "A volume is a block device to all other verbs: /dev/GROUP/VOLUME.",
                   .examples = kExamples};

}  // namespace platter::cli
