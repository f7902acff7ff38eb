#include "src/ops/snapshot.h"

#include <fmt/format.h>

#include "src/cli/image_arguments.h"
#include "src/cli/info_text.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'l', "", "", "list the image's snapshots"},
    {'c', "", "NAME", "take a snapshot"},
    {'a', "", "SNAPSHOT", "go back to a snapshot, by id or name: contents and size"},
    {'d', "", "NAME", "delete a snapshot"},
    {'q', "", "", "print nothing but errors"},
    {'U', "force-share", "", "with -l: also where another process is writing to the image"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kImageOptsOption, kObjectOption, kPolicyOptions);

// qemu-img cuts longer ones.
constexpr std::size_t kNameMax = 255;

Task<std::vector<SnapshotInfo>> list(const Context& context, std::string name, bool force_share) {
  const OpenedImage opened = co_await open_given(
      context, std::move(name), {.purpose = OpenPurpose::read_stable, .force_share = force_share});
  const ImageInfo info = co_await opened.image->info();
  co_await opened.image->close();
  co_return info.snapshots;
}

// In qemu-img's words, as far as it has some for what went wrong.
std::string reason(char action, const Error& error) {
  if (action == 'c' && error.kind() == ErrorKind::unsupported) {
    return "-95 (Operation not supported)";
  }
  if (action == 'a' && error.kind() == ErrorKind::not_found) {
    return "Failed to load snapshot: No such file or directory";
  }
  // An image that can't have any has none by that name.
  if (action == 'd' && error.kind() == ErrorKind::unsupported) return "snapshot not found";
  return error.message();
}

Task<void> act(Image& image, char action, std::string snapshot, const CancelToken& cancel) {
  switch (action) {
    case 'c': return create_snapshot(image, snapshot.substr(0, kNameMax), &cancel);
    case 'a': return apply_snapshot(image, SnapshotKey::id_or_name(snapshot), &cancel);
    default: return delete_snapshot(image, SnapshotKey::by_name(std::move(snapshot)), &cancel);
  }
}

std::string_view verb_of(char action) {
  return action == 'c' ? "create" : action == 'a' ? "apply" : "delete";
}

struct Request {
  std::string name;
  char action = 0;  // as the option; 0: none, the image is only opened
  std::string snapshot;
};

Task<void> change(Context& context, Request request) {
  const OpenedImage opened =
      co_await open_given(context, request.name, {.purpose = OpenPurpose::write});
  Image& image = *opened.image;
  if (opened.format_was_guessed && image.format() == "raw") warn_of_guess(image.filename());
  Result<void> done;
  if (request.action != 0) {
    done = co_await act(image, request.action, request.snapshot, context.cancel()).result();
  }
  Result<void> closed = co_await image.close().result();
  if (!done && done.error().kind() != ErrorKind::cancelled) {
    co_await fail(done.error().kind(),
                  fmt::format("Could not {} snapshot '{}': {}", verb_of(request.action),
                              request.snapshot, reason(request.action, done.error())));
  }
  co_await std::move(done);
  co_await std::move(closed);
}

int run(Context& context, const Arguments& arguments) {
  Request request;
  std::size_t actions = 0;
  for (const char action : {'l', 'c', 'a', 'd'}) {
    const std::vector<std::string> values = arguments.values(std::string_view(&action, 1));
    actions += values.size();
    if (values.empty()) continue;
    request.action = action;
    request.snapshot = values.back();
  }
  if (actions > 1) {
    context.usage_error("Cannot mix '-l', '-a', '-c', '-d'");
    return kExitError;
  }
  if (arguments.positional().size() != 1) {
    context.usage_error("Expecting one image file name");
    return kExitError;
  }
  request.name = arguments.positional().front();
  const bool force_share = arguments.has("force-share");
  if (request.action == 'l') {
    const auto snapshots = context.run(list(context, std::move(request.name), force_share));
    if (!snapshots) return context.fail_with(snapshots.error());
    if (!snapshots->empty()) context.print("Snapshot list:\n" + snapshot_list(*snapshots));
    return kExitOk;
  }
  if (force_share) {
    context.error(
        fmt::format("Could not open '{}': force-share=on can only be used with read-only images",
                    request.name));
    return kExitError;
  }
  const Result<void> done = context.run(change(context, std::move(request)));
  return done ? kExitOk : context.fail_with(done.error());
}

constexpr Example kExamples[] = {
    {"snapshot -c before disk.qcow2", "remember what the disk holds now"},
    {"snapshot -a before disk.qcow2", "go back to it"},
    {"snapshot -l disk.qcow2", "list all of them"},
};

}  // namespace

const Verb kSnapshot{
    .name = "snapshot",
    .operands = "FILENAME",
    .help = "Lists, takes, applies and deletes internal snapshots",
    .options = kOptions,
    .run = run,
    .description =
        "Works on the snapshots within a qcow2 image. One is taken or applied at one moment: a "
        "crash leaves the image with it or without it. No guest may be running on the image.",
    .examples = kExamples};

}  // namespace platter::cli
