#include "src/ops/create.h"

#include <cstdio>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "formats/reference.h"
#include "io/bytes.h"
#include "src/cli/create_options.h"
#include "src/cli/image_arguments.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"
#include "src/ops/backing.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "", "FMT", "format of the new image: raw (default), qcow2 or luks"},
    {'o', "", "OPTIONS", "name=value,...; -o help lists them"},
    {'b', "", "FILE", "backing file: what is not written yet is read from it"},
    {'F', "", "FMT", "the backing file's format"},
    {'u', "", "", "don't look at the backing file"},
    {'q', "", "", "print nothing but errors"},
};
constexpr auto kOptions = join_options(kOwnOptions, kObjectOption, kPolicyOptions);

// One `create`, step by step: each ends with the error that qemu-img would end with there.
class Command {
 public:
  Command(Context& context, const Arguments& arguments)
      : context_(context),
        arguments_(arguments),
        filename_(arguments.positional().front()),
        format_(arguments.value("f", "raw")),
        values_(CreateOptionValues::of_format(format_)) {}

  Result<void> run(std::optional<std::uint64_t> size);

 private:
  Result<void> read_options(std::optional<std::uint64_t> size);
  Result<void> read_backing_options();
  Result<void> check_backing_name() const;
  Result<void> look_at_backing();
  Result<CreateOptions> make_request() const;

  Context& context_;
  const Arguments& arguments_;
  std::string filename_;
  std::string format_;
  CreateOptionValues values_;
  std::vector<FileId> sources_;
};

Result<void> Command::run(std::optional<std::uint64_t> size) {
  if (const auto path = plain_path(filename_); !path) return fail(path.error().clone());
  Result<void> done = check_target_format(format_);
  if (done) done = read_options(size);
  if (done) done = read_backing_options();
  if (done) done = check_backing_name();
  if (done) done = look_at_backing();
  if (!done) return done;
  if (!values_.has("size")) {
    return fail(ErrorKind::invalid_argument, "Image creation needs a size parameter");
  }
  if (!arguments_.has("q")) {
    context_.print(fmt::format("Formatting '{}', fmt={}{}\n", filename_, format_, values_.shown()));
    std::fflush(stdout);
  }
  Result<CreateOptions> request = make_request();
  if (!request) return fail(std::move(request.error()));
  done = context_.run(create_image(*std::move(request)));
  if (done || done.error().kind() != ErrorKind::too_large) return done;
  return fail(
      ErrorKind::too_large,
      fmt::format("The image size is too large for file format '{}'{}", format_,
                  values_.knows("cluster_size") ? " (try using a larger cluster size)" : ""));
}

Result<void> Command::read_options(std::optional<std::uint64_t> size) {
  const auto given = parse_create_options(arguments_.values("o"));
  if (!given) return fail(given.error().clone());
  if (auto set = values_.set(*given, !context_.as_qemu()); !set) return set;
  if (size && values_.has("size")) {
    return fail(ErrorKind::invalid_argument, "The image size must be specified only once");
  }
  if (size) values_.set_size("size", *size);
  return {};
}

Result<void> Command::read_backing_options() {
  const bool known = values_.knows("backing_file");
  if (arguments_.has("b")) {
    if (!known) {
      return fail(ErrorKind::unsupported,
                  fmt::format("Backing file not supported for file format '{}'", format_));
    }
    values_.set_text("backing_file", arguments_.value("b"));
  }
  if (arguments_.has("F")) {
    if (!known) {
      return fail(ErrorKind::unsupported,
                  fmt::format("Backing file format not supported for file format '{}'", format_));
    }
    values_.set_text("backing_fmt", arguments_.value("F"));
  }
  return {};
}

Result<void> Command::check_backing_name() const {
  const std::optional<std::string> name = values_.text("backing_file");
  if (name && name->empty()) {
    return fail(ErrorKind::invalid_argument, "Expected backing file name, got empty string");
  }
  if (name == filename_) {
    return fail(ErrorKind::invalid_argument,
                "Error: Trying to create an image with the same filename as the backing file");
  }
  return {};
}

// The backing file gives the size where no other was asked for, and must be what it is said to be.
Result<void> Command::look_at_backing() {
  const std::optional<std::string> name = values_.text("backing_file");
  if (!name) return {};
  const std::optional<std::string> format = values_.text("backing_fmt");
  constexpr std::string_view kNoFormat = "Backing file specified without backing format";
  if (arguments_.has("u")) {
    if (format) return {};
    return fail(ErrorKind::invalid_argument, std::string(kNoFormat));
  }
  Result<BackingImage> backing =
      format == "" ? fail(ErrorKind::unknown_format, "Unknown driver ''")
                   : context_.run(platter::look_at_backing(filename_, *name, format.value_or(""),
                                                           context_.images().policy));
  if (!backing) {
    Error& error = backing.error();
    return fail(error.kind(), error.message() + "\nCould not open backing image.");
  }
  if (!format) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("{}\nDetected format of {}.", kNoFormat, backing->format));
  }
  if (!values_.has("size")) values_.set_size("size", backing->size);
  sources_ = std::move(backing->files);
  return {};
}

Result<CreateOptions> Command::make_request() const {
  CreateOptions request{.filename = filename_,
                        .format = format_,
                        .size = *values_.number("size"),
                        .attributes = attributes_of(values_),
                        .sources = sources_,
                        .cancel = &context_.cancel()};
  if (format_ == "qcow2") {
    Result<qcow2::CreateOptions> qcow2 = qcow2_options_of(values_);
    if (!qcow2) return fail(std::move(qcow2.error()));
    request.preallocation = qcow2->preallocation;
    request.qcow2 = *std::move(qcow2);
    return request;
  }
  if (format_ == "luks") {
    Result<LuksCreateOptions> luks = luks_options_of(values_, *context_.images().policy.secrets);
    if (!luks) return fail(std::move(luks.error()));
    request.luks = *std::move(luks);
  }
  const Result<Preallocation> mode = raw_preallocation_of(values_);
  if (!mode) return fail(mode.error().clone());
  request.preallocation = *mode;
  if (request.size > kMaxFileSize - kSectorSize) {
    return fail(ErrorKind::too_large,
                fmt::format("The image size is too large for file format '{}'", format_));
  }
  request.size = align_up(request.size, kSectorSize);
  return request;
}

int run(Context& context, const Arguments& arguments) {
  const auto& operands = arguments.positional();
  if (asks_for_help(arguments.values("o"))) {
    const std::string format = arguments.value("f", "raw");
    if (const auto known = check_target_format(format); !known) {
      return context.fail_with(known.error());
    }
    context.print(CreateOptionValues::of_format(format).help(/*with_file=*/!operands.empty()));
    return kExitOk;
  }
  if (const auto options = parse_create_options(arguments.values("o")); !options) {
    return context.fail_with(options.error());
  }
  if (operands.empty()) {
    context.usage_error("Expecting image file name");
    return kExitError;
  }
  std::optional<std::uint64_t> size;
  if (operands.size() > 1) {
    const Result<std::uint64_t> parsed =
        parse_size_argument(operands[1], "image size", context.program());
    if (!parsed) return context.fail_with(parsed.error());
    size = *parsed;
  }
  if (operands.size() > 2) {
    context.usage_error(fmt::format("Unexpected argument: {}", operands[2]));
    return kExitError;
  }
  Command command(context, arguments);
  Result<void> done = command.run(size);
  if (done) return kExitOk;
  return context.fail_with(std::move(done.error()).with_context(operands[0]));
}

constexpr Example kExamples[] = {
    {"create -f qcow2 disk.qcow2 20G", "a disk that takes space as it is written"},
    {"create -f qcow2 -b base.qcow2 -F qcow2 disk.qcow2",
     "a disk that begins as a copy of base.qcow2"},
    {"create --object secret,id=s,file=key -f luks -o key-secret=s disk.luks 20G",
     "an encrypted disk; the passphrase is all that the file holds"},
    {"create -f qcow2 -o help", "list what -o takes"},
};

}  // namespace

const Verb kCreate{
    .name = "create",
    .operands = "FILENAME [SIZE]",
    .help = "Makes a new image",
    .options = kOptions,
    .run = run,
    .description =
        "Makes an image of SIZE bytes that reads as zeroes, or as its backing file. Without a size "
        "it gets that of the backing file. A file that exists is overwritten.",
    .examples = kExamples};

}  // namespace platter::cli
