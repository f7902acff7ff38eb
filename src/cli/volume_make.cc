// platter volume create, snapshot, extend
#include <utility>

#include <fmt/format.h>

#include "io/bytes.h"
#include "src/cli/volume.h"

namespace platter::cli {
namespace {

Result<VolumeKind> parse_kind(const std::string& text) {
  for (const VolumeKind kind : {VolumeKind::linear, VolumeKind::thin_pool, VolumeKind::thin}) {
    if (text == to_string(kind)) return kind;
  }
  return fail(ErrorKind::invalid_argument,
              fmt::format("'{}' is not a kind of volume: linear, thin-pool or thin", text));
}

Task<void> create(const Arguments& arguments) {
  const VolumeName name = co_await parse_volume_name(operand(arguments, 0));
  NewVolume volume{.name = name.volume};
  volume.pool = arguments.value("pool");
  const std::string_view default_kind = volume.pool.empty() ? "linear" : "thin";
  volume.kind = co_await parse_kind(arguments.value("kind", default_kind));
  volume.size = co_await size_operand(operand(arguments, 1));
  co_await name.group.create(std::move(volume));
}

// Of a thin volume a thin one, which needs no size; of others one that copies what is written over.
Task<void> snapshot(const Arguments& arguments) {
  const VolumeName origin = co_await parse_volume_name(operand(arguments, 0));
  const std::string size = operand(arguments, 2);
  NewVolume volume{.name = operand(arguments, 1), .kind = VolumeKind::thin};
  volume.origin = origin.volume;
  if (!size.empty()) {
    volume.kind = VolumeKind::snapshot;
    volume.size = co_await size_operand(size);
  } else if ((co_await origin.group.volume(origin.volume)).kind != VolumeKind::thin) {
    co_await fail(
        ErrorKind::invalid_argument,
        fmt::format("'{}' is not thin: its snapshot needs a size", operand(arguments, 0)));
  }
  co_await origin.group.create(std::move(volume));
}

Task<void> extend(const Arguments& arguments) {
  const VolumeName name = co_await parse_volume_name(operand(arguments, 0));
  std::string text = operand(arguments, 1);
  const bool relative = text.starts_with('+');
  if (relative) text.erase(0, 1);
  std::uint64_t size = co_await size_operand(text);
  if (relative) {
    const VolumeInfo now = co_await name.group.volume(name.volume);
    if (size > kMaxFileSize - now.size) {
      co_await fail(ErrorKind::too_large, fmt::format("'{}' is too much", operand(arguments, 1)));
    }
    size += now.size;
  }
  co_await name.group.extend(name.volume, size);
}

int finish(const Context& context, const Result<void>& done) {
  return done ? kExitOk : context.fail_with(done.error());
}

}  // namespace

int volume_create(Context& context, const Arguments& arguments) {
  return finish(context, context.run(create(arguments)));
}

int volume_snapshot(Context& context, const Arguments& arguments) {
  return finish(context, context.run(snapshot(arguments)));
}

int volume_extend(Context& context, const Arguments& arguments) {
  return finish(context, context.run(extend(arguments)));
}

}  // namespace platter::cli
