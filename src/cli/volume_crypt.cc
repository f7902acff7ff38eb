// platter volume format, open, close: encryption of volumes
#include <utility>

#include <fmt/format.h>

#include "crypto/dm_crypt.h"
#include "crypto/key_file.h"
#include "src/cli/size.h"
#include "src/cli/volume.h"

namespace platter::cli {
namespace {

// The value of a numeric option, if it was given, into `into`.
Result<void> take_number(const Arguments& arguments, std::string_view option, std::uint64_t max,
                         std::uint32_t& into) {
  if (!arguments.has(option)) return {};
  const auto number = parse_number_argument(arguments.value(option), option, max);
  if (!number) return fail(number.error().clone());
  into = static_cast<std::uint32_t>(*number);
  return {};
}

void take_text(const Arguments& arguments, std::string_view option, std::string& into) {
  if (arguments.has(option)) into = arguments.value(option);
}

constexpr std::uint64_t kKeyBitsMax = 4096;
constexpr std::uint64_t kSectorSizeMax = 4096;
constexpr std::uint64_t kIterTimeMax = 600'000;

Result<Secret> key_of(const Arguments& arguments) {
  if (arguments.has("key-file")) return read_key_file(arguments.value("key-file"));
  return fail(ErrorKind::invalid_argument, "--key-file is needed: a file, or - for standard input");
}

Task<void> format(const Arguments& arguments) {
  const VolumeName name = co_await parse_volume_name(operand(arguments, 0));
  LuksParameters parameters;
  const std::string type = arguments.value("type", "luks2");
  if (type != "luks1" && type != "luks2") {
    co_await fail(ErrorKind::invalid_argument,
                  fmt::format("'{}' is not a type to format: luks1 or luks2", type));
  }
  parameters.version = type == "luks1" ? LuksVersion::luks1 : LuksVersion::luks2;
  take_text(arguments, "cipher", parameters.cipher);
  take_text(arguments, "hash", parameters.hash);
  co_await take_number(arguments, "key-size", kKeyBitsMax, parameters.key_bits);
  co_await take_number(arguments, "sector-size", kSectorSizeMax, parameters.sector_size);
  co_await take_number(arguments, "iter-time", kIterTimeMax, parameters.pbkdf_time_ms);
  const Secret key = co_await key_of(arguments);
  co_await name.group.volume(name.volume);  // LVM's words where there is none
  co_await format_luks(name.path(), std::move(parameters), key.view());
}

// As cryptsetup has it: what comes from standard input is hashed, a file is the key itself.
Result<PlainParameters> plain_parameters(const Arguments& arguments) {
  PlainParameters parameters;
  const bool from_file = arguments.value("key-file") != "-";
  parameters.key = from_file ? PlainKey::verbatim : PlainKey::hashed;
  if (from_file && arguments.has("hash")) {
    return fail(ErrorKind::invalid_argument,
                "--hash is for a key from standard input: a file is the key itself");
  }
  take_text(arguments, "cipher", parameters.cipher);
  take_text(arguments, "hash", parameters.hash);
  auto taken = take_number(arguments, "key-size", kKeyBitsMax, parameters.key_bits);
  if (taken) {
    taken = take_number(arguments, "sector-size", kSectorSizeMax, parameters.sector_size);
  }
  if (!taken) return fail(std::move(taken.error()));
  return parameters;
}

Task<void> open(const Arguments& arguments) {
  const VolumeName name = co_await parse_volume_name(operand(arguments, 0));
  const std::string given = operand(arguments, 1);
  const std::string mapping = given.empty() ? name.mapping() : given;
  const MappingOptions options{.read_only = arguments.has("readonly"),
                               .allow_discards = arguments.has("allow-discards")};
  const std::string type = arguments.value("type", "luks");
  if (type != "plain" && type != "luks") {
    co_await fail(ErrorKind::invalid_argument,
                  fmt::format("'{}' is not a type to open: plain or luks", type));
  }
  if (type == "luks") {
    for (const std::string_view option : {"cipher", "hash", "key-size", "sector-size"}) {
      if (!arguments.has(option)) continue;
      co_await fail(ErrorKind::invalid_argument,
                    fmt::format("--{} is for --type=plain: a LUKS header tells it", option));
    }
  }
  const Secret key = co_await key_of(arguments);
  co_await name.group.volume(name.volume);  // LVM's words where there is none
  if (type == "luks") {
    co_await open_luks(name.path(), mapping, key.view(), options);
  } else {
    PlainParameters parameters = co_await plain_parameters(arguments);
    co_await open_plain(name.path(), mapping, std::move(parameters), key.view(), options);
  }
}

Task<void> close(const Arguments& arguments) {
  const DmRemoval removal = arguments.has("deferred") ? DmRemoval::deferred : DmRemoval::retried;
  std::string mapping = operand(arguments, 0);
  if (mapping.contains('/')) mapping = (co_await parse_volume_name(mapping)).mapping();
  const std::optional<MappingStatus> status = co_await mapping_status(mapping);
  if (!status) {
    co_await fail(ErrorKind::not_found, fmt::format("'{}' is not an encrypted mapping", mapping));
  }
  co_await close_mapping(std::move(mapping), removal);
}

int finish(const Context& context, const Result<void>& done) {
  return done ? kExitOk : context.fail_with(done.error());
}

}  // namespace

int volume_format(Context& context, const Arguments& arguments) {
  return finish(context, context.run(format(arguments)));
}

int volume_open(Context& context, const Arguments& arguments) {
  return finish(context, context.run(open(arguments)));
}

int volume_close(Context& context, const Arguments& arguments) {
  return finish(context, context.run(close(arguments)));
}

}  // namespace platter::cli
