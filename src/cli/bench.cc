#include "src/ops/bench.h"

#include <limits>

#include <fmt/format.h>

#include "io/bytes.h"
#include "src/cli/image_arguments.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'c', "", "COUNT", "requests (default: 75000)"},
    {'d', "", "DEPTH", "requests in flight (default: 64)"},
    {'f', "", "FMT", "the image's format; default: decided by its content"},
    {0, "flush-interval", "N", "flush after each N write requests"},
    {'i', "", "threads|native|io_uring",
     "native is io_uring too, the default where it is permitted"},
    {'n', "", "", "the same as -i native"},
    {0, "no-drain", "", "flush without waiting for the requests in flight"},
    {'o', "", "OFFSET", "of the first request (default: 0)"},
    {0, "pattern", "BYTE", "what is written (default: 0)"},
    {'q', "", "", "changes nothing"},
    {'s', "", "SIZE", "bytes of a request (default: 4096)"},
    {'S', "", "SIZE", "from one request's offset to the next one's; 0 (default): a request's size"},
    {'t', "", "CACHE", "none, directsync, writeback (default), writethrough, unsafe"},
    {'w', "", "", "write; otherwise read"},
    {'U', "force-share", "", "read although another process is writing to the image"},
};
constexpr auto kOptions = join_options(kOwnOptions, kImageOptsOption, kPolicyOptions);

// What an int holds: qemu-img's limit for most numbers.
constexpr std::uint64_t kIntMax = std::numeric_limits<std::int32_t>::max();

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

struct Request {
  std::string name;
  OpenOptions open;
  bool native = false;
  RingEngineKind engine = RingEngineKind::automatic;
  BenchOptions bench;
};

// What `option` says, if it is given.
template <class Parse>
Result<void> take(const Arguments& arguments, std::string_view option, std::uint64_t& value,
                  Parse parse) {
  if (!arguments.has(option)) return {};
  const Result<std::uint64_t> parsed = parse(arguments.value(option));
  if (!parsed) return fail(parsed.error().clone());
  value = *parsed;
  return {};
}

Result<void> parse_numbers(const Arguments& arguments, std::string_view program,
                           BenchOptions& bench) {
  auto number = [](std::string_view what, std::uint64_t max) {
    return [=](const std::string& text) { return parse_number_argument(text, what, max); };
  };
  auto size = [program](std::string_view what, std::uint64_t max) {
    return [=](const std::string& text) { return parse_size_argument(text, what, program, max); };
  };
  std::uint64_t pattern = 0;
  const Result<void> results[] = {
      take(arguments, "c", bench.count, number("request count", kIntMax)),
      take(arguments, "d", bench.depth, number("queue depth", kIntMax)),
      take(arguments, "o", bench.offset, size("offset", kMaxFileSize)),
      take(arguments, "s", bench.size, size("buffer size", kIntMax)),
      take(arguments, "S", bench.step, size("step_size", kIntMax)),
      take(arguments, "pattern", pattern, number("pattern byte", 0xff)),
      take(arguments, "flush-interval", bench.flush_interval, number("flush interval", kIntMax)),
  };
  for (const Result<void>& result : results) {
    if (!result) return fail(result.error().clone());
  }
  // qemu-img waits for ever then.
  if (bench.depth == 0) return wrong("Invalid queue depth specified");
  bench.pattern = static_cast<std::byte>(pattern);
  return {};
}

Result<void> parse_engine(const Arguments& arguments, Request& request) {
  request.native = arguments.has("n");
  if (!arguments.has("i")) return {};
  const std::string name = arguments.value("i");
  if (name == "threads") {
    request.engine = RingEngineKind::threads;
  } else if (name == "io_uring") {
    request.engine = RingEngineKind::io_uring;
  } else if (name == "native") {
    request.native = true;
  } else {
    return wrong(fmt::format("Invalid aio option: {}", name));
  }
  return {};
}

Result<Request> parse(const Arguments& arguments, std::string_view program) {
  Request request;
  if (Result<void> numbers = parse_numbers(arguments, program, request.bench); !numbers) {
    return fail(std::move(numbers.error()));
  }
  if (Result<void> engine = parse_engine(arguments, request); !engine) {
    return fail(std::move(engine.error()));
  }
  const std::optional<CacheMode> cache = parse_cache_mode(arguments.value("t", "writeback"));
  if (!cache) return wrong("Invalid cache mode");
  request.bench.write = arguments.has("w");
  request.bench.drain = !arguments.has("no-drain");
  request.open = {.purpose = request.bench.write ? OpenPurpose::write : OpenPurpose::read,
                  .format = arguments.value("f"),
                  .cache = cache->use,
                  .durability = cache->durability,
                  .force_share = arguments.has("force-share")};
  return request;
}

// What only holds once the operands were counted.
Result<void> check_conflicts(const Request& request) {
  const BenchOptions& bench = request.bench;
  if (bench.flush_interval != 0 && !bench.write) {
    return wrong("--flush-interval is only available in write tests");
  }
  if (bench.flush_interval != 0 && bench.flush_interval < bench.depth) {
    return wrong("Flush interval can't be smaller than depth");
  }
  const std::string prefix = "Could not open '" + request.name + "': ";
  if (bench.write && request.open.force_share) {
    return wrong(prefix + "force-share=on can only be used with read-only images");
  }
  if (request.native && request.open.cache != CacheUse::direct) {
    return wrong(prefix +
                 "aio=native was specified, but it requires cache.direct=on, which was not "
                 "specified.");
  }
  return {};
}

void announce(const Context& context, const BenchOptions& bench) {
  context.print(fmt::format(
      "Sending {} {} requests, {} bytes each, {} in parallel (starting at offset {}, step size "
      "{})\n",
      bench.count, bench.write ? "write" : "read", bench.size, bench.depth, bench.offset,
      bench.step != 0 ? bench.step : bench.size));
  if (bench.flush_interval != 0) {
    context.print(fmt::format("Sending flush every {} requests\n", bench.flush_interval));
  }
}

Task<void> bench_named(Context& context, Request request) {
  const OpenedImage opened = co_await open_given(context, request.name, request.open);
  Image& image = *opened.image;
  const bool guessed_raw = opened.format_was_guessed && image.format() == "raw";
  if (request.bench.write && guessed_raw) warn_of_guess(image.filename());
  announce(context, request.bench);
  const std::chrono::duration<double> took = co_await bench_image(image, request.bench);
  context.print(fmt::format("Run completed in {:3.3f} seconds.\n", took.count()));
  if (request.bench.write) co_await image.flush();
  co_await image.close();
}

int run(Context& context, const Arguments& arguments) {
  Result<Request> request = parse(arguments, context.program());
  if (!request) return context.fail_with(request.error());
  if (arguments.positional().size() != 1) {
    context.usage_error("Expecting one image file name");
    return kExitError;
  }
  request->name = arguments.positional()[0];
  if (const Result<void> good = check_conflicts(*request); !good) {
    return context.fail_with(good.error());
  }
  request->bench.cancel = &context.cancel();
  context.set_engine(request->engine);
  const Result<void> done = context.run(bench_named(context, *std::move(request)));
  return done ? kExitOk : context.fail_with(done.error());
}

constexpr Example kExamples[] = {
    {"bench -t none disk.qcow2", "75000 reads of 4 KiB, 64 in flight, without the page cache"},
    {"bench -w -c 10000 -s 64k -t none disk.raw",
     "how fast it can be written; destroys what is there"},
};

}  // namespace

const Verb kBench{
    .name = "bench",
    .operands = "FILENAME",
    .help = "Measures how fast an image takes requests",
    .options = kOptions,
    .run = run,
    .description =
        "Sends requests to an image, one after the other or with gaps, many of them in flight "
        "together, and tells how long they took. With -w the image's contents are overwritten.",
    .examples = kExamples};

}  // namespace platter::cli
