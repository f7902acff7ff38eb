#include "src/ops/amend.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "formats/luks/luks_image.h"
#include "formats/node_options.h"
#include "src/cli/create_options.h"
#include "src/cli/image_arguments.h"
#include "src/cli/progress_bar.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'o', "", "OPTIONS", "name=value,...; -o help lists them"},
    {'f', "", "FMT", "the image's format; default: decided by its content"},
    {'p', "", "", "show progress"},
    {'q', "", "", "print nothing but errors"},
    {'t', "", "CACHE", "cache mode: none, writeback (default), writethrough, directsync, unsafe"},
    {0, "force", "", "allow what is unsafe: overwrite key slots in use, erase the last one"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kImageOptsOption, kObjectOption, kProgressOptions, kPolicyOptions);

struct Request {
  std::string name;
  OpenOptions open;
  std::vector<CreateOption> given;
  bool help = false;
  bool shows_progress = false;
  bool force = false;
};

// Words are looked at in the order in which qemu-img does.
Result<qcow2::AmendOptions> amend_options_of(const CreateOptionValues& values) {
  if (values.has_any("encrypt.")) {
    return fail(ErrorKind::invalid_argument,
                "Can't amend encryption options - encryption not present");
  }
  qcow2::AmendOptions options;
  if (const auto compat = values.text("compat")) {
    const Result<unsigned> version = parse_compatibility(*compat);
    if (!version) {
      return fail(ErrorKind::invalid_argument, "Unknown compatibility level " + *compat);
    }
    options.version = *version;
  }
  options.size = values.number("size");
  options.backing_file = values.text("backing_file");
  options.backing_format = values.text("backing_fmt");
  options.lazy_refcounts = values.boolean("lazy_refcounts");
  options.refcount_bits = values.number("refcount_bits");
  options.data_file = values.text("data_file");
  options.data_file_raw = values.boolean("data_file_raw");
  return options;
}

Result<CreateOptionValues> read_values(std::string_view format,
                                       const std::vector<CreateOption>& given, bool suggests) {
  CreateOptionValues values = CreateOptionValues::of_amendment(format);
  Result<void> set = values.set(given);
  if (set) return values;
  if (!CreateOptionValues::creates(format, given)) {
    return fail(std::move(values.set(given, suggests).error()));
  }
  return fail(set.error().kind(),
              set.error().message() + "\nThis option is only supported for image creation");
}

Result<std::shared_ptr<const Secret>> read_secret(const CreateOptionValues& values,
                                                  std::string_view option,
                                                  const SecretProvider& secrets) {
  const std::optional<std::string> id = values.text(option);
  if (!id) return nullptr;
  Result<Secret> secret = secrets.get(*id);
  if (!secret) return fail(std::move(secret.error()));
  return std::make_shared<const Secret>(*std::move(secret));
}

Result<luks::LuksAmendOptions> luks_amend_options_of(const CreateOptionValues& values,
                                                     const Context& context) {
  luks::LuksAmendOptions options{.slot = values.number("keyslot"),
                                 .limits = context.images().policy.key_costs};
  const std::optional<std::string> state = values.text("state");
  if (!state) return fail(ErrorKind::invalid_argument, "Parameter 'state' is missing");
  if (*state != "active" && *state != "inactive") {
    return fail(ErrorKind::invalid_argument,
                fmt::format("Parameter 'state' does not accept value '{}'", *state));
  }
  options.activate = *state == "active";
  if (const auto time = values.number("iter-time")) {
    constexpr std::uint64_t kTimeMax = 600'000;
    options.time_ms = static_cast<std::uint32_t>(std::min(*time, kTimeMax));
  }
  const SecretProvider& secrets = *context.images().policy.secrets;
  auto new_secret = read_secret(values, "new-secret", secrets);
  if (!new_secret) return fail(std::move(new_secret.error()));
  options.new_secret = *std::move(new_secret);
  auto old_secret = read_secret(values, "old-secret", secrets);
  if (!old_secret) return fail(std::move(old_secret.error()));
  options.old_secret = *std::move(old_secret);
  return options;
}

// One `amend` of one image. Progress is shown from when it is known what to do.
class Command {
 public:
  Command(Context& context, Request request) : context_(context), request_(std::move(request)) {}

  int run();

 private:
  Task<void> amend_named();
  Task<void> amend(Image& image);

  Context& context_;
  Request request_;
  std::string format_;
  std::optional<ProgressBar> bar_;
};

Task<void> Command::amend(Image& image) {
  co_await check_amendable(image.format());
  format_ = image.format();
  if (request_.help) co_return;
  const CreateOptionValues values =
      co_await read_values(image.format(), request_.given, !context_.as_qemu());
  if (auto* const luks = dynamic_cast<luks::LuksImage*>(&image)) {
    luks::LuksAmendOptions options = co_await luks_amend_options_of(values, context_);
    options.force = request_.force;
    co_await luks->amend(std::move(options));
    co_return;
  }
  qcow2::AmendOptions options = co_await amend_options_of(values);
  options.cancel = &context_.cancel();
  bar_.emplace(context_, request_.shows_progress, 1.0);
  co_await amend_image(image, std::move(options), &bar_->progress());
}

Task<void> Command::amend_named() {
  const OpenedImage opened = co_await open_given(context_, request_.name, request_.open);
  Image& image = *opened.image;
  if (opened.format_was_guessed && image.format() == "raw") warn_of_guess(image.filename());
  Result<void> done = co_await amend(image).result();
  Result<void> closed = co_await image.close().result();
  co_await std::move(done);
  co_await std::move(closed);
}

void show_help(Context& context, const std::string& format) {
  context.print(CreateOptionValues::of_amendment(format).amendment_help());
}

int Command::run() {
  const Result<void> done = context_.run(amend_named());
  if (done && request_.help) show_help(context_, format_);
  if (bar_) {
    if (done) bar_->complete();
    bar_->end();
  } else if (request_.shows_progress) {
    context_.print("\n");
  }
  return done ? kExitOk : context_.fail_with(done.error());
}

// `-o help` beside `-f` needs no image.
int help_of_format(Context& context, const std::string& format) {
  Result<void> known;
  if (!is_file_driver(format)) known = check_target_format(format);
  if (known) known = check_amendable(format);
  if (!known) return context.fail_with(known.error());
  show_help(context, format);
  return kExitOk;
}

int run(Context& context, const Arguments& arguments) {
  const std::vector<std::string> lists = arguments.values("o");
  if (lists.empty()) {
    context.usage_error("Must specify options (-o)");
    return kExitError;
  }
  Result<std::vector<CreateOption>> given = parse_create_options(lists);
  if (!given) return context.fail_with(given.error());
  Request request{.given = *std::move(given), .help = asks_for_help(lists)};
  if (request.help && arguments.has("f")) return help_of_format(context, arguments.value("f"));
  if (arguments.positional().size() != 1) {
    context.error("Expecting one image file name");
    return kExitError;
  }
  request.name = arguments.positional().front();
  const std::string cache_name = arguments.value("t", "writeback");
  const std::optional<CacheMode> cache = parse_cache_mode(cache_name);
  if (!cache) {
    context.error(fmt::format("Invalid cache option: {}", cache_name));
    return kExitError;
  }
  request.open = {.purpose = OpenPurpose::resize,
                  .format = arguments.value("f"),
                  .cache = cache->use,
                  .durability = cache->durability};
  request.force = arguments.has("force");
  request.shows_progress = arguments.has("p") && !arguments.has("q");
  return Command(context, std::move(request)).run();
}

constexpr Example kExamples[] = {
    {"amend -o compat=1.1 disk.qcow2", "raise an image of version 2 to version 3"},
    {"amend --object secret,id=s,file=key -o state=inactive,keyslot=1 --image-opts "
     "key-secret=s,file.filename=d.luks",
     "erase a passphrase of an encrypted image"},
    {"amend -o help -f qcow2", "list what can be changed"},
};

}  // namespace

const Verb kAmend{.name = "amend",
                  .operands = "FILENAME",
                  .help = "Changes options that an image was made with",
                  .options = kOptions,
                  .run = run,
                  .description =
                      "Changes options that an image was made with: its version, the width of its "
                      "reference counts, whether lazy reference counts are allowed, its size, the "
                      "name of its data file; or the key slots of a LUKS image. Everything is "
                      "checked before anything is changed, "
                      "and a crash at any moment leaves a whole image.",
                  .examples = kExamples};

}  // namespace platter::cli
