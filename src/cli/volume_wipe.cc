// platter volume wipe, remove
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "io/direct_file.h"
#include "src/cli/progress_bar.h"
#include "src/cli/size.h"
#include "src/cli/volume.h"

namespace platter::cli {
namespace {

Result<WipeMethod> parse_method(const std::string& text) {
  if (text == "none") return WipeMethod::none;
  if (text == "zero") return WipeMethod::zero;
  if (text == "discard") return WipeMethod::discard;
  if (text == "random") return WipeMethod::random;
  return fail(ErrorKind::invalid_argument,
              fmt::format("'{}' is not a way to wipe: none, zero, discard or random", text));
}

Result<WipePolicy> parse_policy(const Context& context, const Arguments& arguments,
                                std::string_view default_method) {
  const Result<WipeMethod> method = parse_method(arguments.value("wipe", default_method));
  if (!method) return fail(method.error().clone());
  WipePolicy policy{.method = *method};
  if (arguments.has("first")) {
    const auto first =
        parse_size_argument(arguments.value("first"), "size to wipe", context.program());
    if (!first) return fail(first.error().clone());
    policy.first = *first;
  }
  if (arguments.has("passes")) {
    constexpr std::uint64_t kPassesMax = 100;
    const auto passes =
        parse_number_argument(arguments.value("passes"), "number of passes", kPassesMax);
    if (!passes) return fail(passes.error().clone());
    policy.passes = static_cast<unsigned>(*passes);
  }
  return policy;
}

Task<void> wipe_open(Context& context, File& device, const WipePolicy& policy, Progress& progress) {
  progress.set_total(co_await wipe_total(device, policy));
  WipeProgress count = [&progress](std::uint64_t bytes) { progress.add(bytes); };
  co_await wipe(device, policy, &context.cancel(), std::move(count));
}

// Nobody else has it open exclusively: no filesystem is mounted on it, no mapping stands on it.
Task<void> wipe_volume(Context& context, VolumeName name, WipePolicy policy, Progress& progress) {
  const VolumeInfo volume = co_await name.group.volume(name.volume);
  if (volume.kind == VolumeKind::thin_pool) {
    co_await fail(ErrorKind::invalid_argument,
                  fmt::format("'{}' is a pool: it holds no data of its own", name.path()));
  }
  if (!volume.active) co_await name.group.activate(name.volume);
  FileOptions options{.access = Access::read_write};
  options.exclusive_device = true;
  const auto device = co_await DirectFile::open(name.path(), std::move(options));
  Result<void> wiped = co_await wipe_open(context, *device, policy, progress).result();
  Result<void> closed = co_await device->close().result();
  co_await std::move(wiped);
  co_await std::move(closed);
}

Task<void> remove_volume(Context& context, VolumeName name, WipePolicy policy, Progress& progress) {
  if (policy.method != WipeMethod::none) co_await wipe_volume(context, name, policy, progress);
  co_await name.group.remove(name.volume);
}

using Action = Task<void> (*)(Context&, VolumeName, WipePolicy, Progress&);

int act(Context& context, const Arguments& arguments, std::string_view default_method,
        Action action) {
  Result<VolumeName> name = parse_volume_name(operand(arguments, 0));
  if (!name) return context.fail_with(name.error());
  const Result<WipePolicy> policy = parse_policy(context, arguments, default_method);
  if (!policy) return context.fail_with(policy.error());
  ProgressBar bar(context, arguments.has("p"), 1.0);
  const Result<void> done = context.run(action(context, *std::move(name), *policy, bar.progress()));
  if (done) bar.complete();
  bar.end();
  return done ? kExitOk : context.fail_with(done.error());
}

}  // namespace

int volume_wipe(Context& context, const Arguments& arguments) {
  return act(context, arguments, "zero", wipe_volume);
}

int volume_remove(Context& context, const Arguments& arguments) {
  return act(context, arguments, "none", remove_volume);
}

}  // namespace platter::cli
