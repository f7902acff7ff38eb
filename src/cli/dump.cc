#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "formats/open.h"
#include "src/cli/dump_output.h"
#include "src/cli/dump_qcow2.h"
#include "src/cli/image_arguments.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "format", "FMT", "the image's format; default: decided by its content"},
    {0, "header", "", "the header and its extensions"},
    {0, "l1", "", "the active L1 table"},
    {0, "l2", "", "the L2 tables below it"},
    {0, "refcounts", "", "the refcount table and the counts"},
    {0, "snapshots", "", "the snapshot table"},
    {0, "bitmaps", "", "the bitmap directory and tables"},
    {0, "guest", "OFFSET[+LENGTH]", "L1 and L2 entries of this range; of raw: data and holes"},
    {0, "host", "OFFSET[+LENGTH]", "counts of this range of the file"},
    {0, "owner", "OFFSET", "what refers to the cluster that holds this byte of the file"},
    {0, "limit", "ROWS", "rows of each list, at most; default: 1000000"},
    {0, "output", "FORMAT", "human (default) or json"},
    {'U', "force-share", "", "also where another process is writing to the image"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kImageOptsOption, kObjectOption, kPolicyOptions);

constexpr std::uint64_t kRowsMax = 1'000'000;
constexpr std::size_t kExtentsAtOnce = 1024;

// "OFFSET+LENGTH", or the byte at OFFSET.
Result<qcow2::DumpRange> parse_range(const std::string& text, std::string_view program) {
  const std::size_t plus = text.find('+');
  const Result<std::uint64_t> begin = parse_size_argument(text.substr(0, plus), "offset", program);
  if (!begin) return fail(begin.error().clone());
  std::uint64_t length = 1;
  if (plus != std::string::npos) {
    const Result<std::uint64_t> parsed =
        parse_size_argument(text.substr(plus + 1), "length", program);
    if (!parsed) return fail(parsed.error().clone());
    length = *parsed;
  }
  return qcow2::DumpRange{.begin = *begin, .end = *begin + length};
}

Result<DumpRequest> parse_request(const Arguments& arguments, std::string_view program) {
  DumpRequest request{.header = arguments.has("header"),
                      .l1 = arguments.has("l1"),
                      .l2 = arguments.has("l2"),
                      .refcounts = arguments.has("refcounts"),
                      .snapshots = arguments.has("snapshots"),
                      .bitmaps = arguments.has("bitmaps"),
                      .rows_max = kRowsMax};
  if (arguments.has("guest")) {
    auto range = parse_range(arguments.value("guest"), program);
    if (!range) return fail(std::move(range.error()));
    request.guest = *range;
    // Without a word about which, both.
    if (!request.l1 && !request.l2) request.l1 = request.l2 = true;
  }
  if (arguments.has("host")) {
    auto range = parse_range(arguments.value("host"), program);
    if (!range) return fail(std::move(range.error()));
    request.host = *range;
    request.refcounts = true;
  }
  if (arguments.has("owner")) {
    auto offset = parse_size_argument(arguments.value("owner"), "offset", program);
    if (!offset) return fail(std::move(offset.error()));
    request.owner = *offset;
  }
  if (arguments.has("limit")) {
    auto limit = parse_number_argument(arguments.value("limit"), "row limit", kMaxFileSize);
    if (!limit) return fail(std::move(limit.error()));
    request.rows_max = *limit;
  }
  const bool any = request.header || request.l1 || request.l2 || request.refcounts ||
                   request.snapshots || request.bitmaps || request.owner;
  // An overview: what is small.
  if (!any) request.header = request.snapshots = request.bitmaps = true;
  return request;
}

// A raw image has no inside but the file's data and holes.
Task<void> dump_raw(File& file, const DumpRequest& request, bool ranged, DumpOutput& output,
                    const CancelToken* cancel) {
  const std::uint64_t size = co_await file.size();
  output.begin_section("file");
  output.field("size", size);
  output.field("virtual_size", align_up(size, kSectorSize));
  // A part of a file has no such figures.
  if (const auto* const whole = dynamic_cast<DirectFile*>(&file); whole != nullptr) {
    output.field("allocated", co_await whole->disk_usage());
    output.field("block_device", whole->traits().is_block_device);
  }
  output.end_section();
  if (!ranged) co_return;
  output.begin_section("extents");
  output.begin_rows("entries");
  const std::uint64_t end = std::min(size, request.guest.end);
  std::uint64_t rows = 0;
  for (std::uint64_t at = request.guest.begin; at < end && rows < request.rows_max;) {
    co_await look_for_cancel(cancel);
    const auto extents = co_await file.extents(at, end - at, kExtentsAtOnce);
    if (extents.empty()) break;
    for (const Extent& extent : extents) {
      at = extent.offset + extent.length;
      if (rows++ >= request.rows_max) break;
      output.row({{"offset", Hex{extent.offset}},
                  {"length", Hex{extent.length}},
                  {"type", std::string(extent.data ? "data" : "hole")}});
    }
  }
  output.end_rows();
  output.field("complete", rows <= request.rows_max);
  output.end_section();
}

Task<void> dump_sections(File& file, const std::string& format, const DumpRequest& request,
                         bool ranged, DumpOutput& output, const CancelToken* cancel) {
  if (format == "raw") {
    co_await dump_raw(file, request, ranged, output, cancel);
  } else {
    co_await dump_qcow2(file, request, output, cancel);
  }
}

Task<void> dump_named(Context& context, std::string name, OpenOptions open, DumpRequest request,
                      bool ranged, DumpOutput& output) {
  ImageName given = co_await given_name(context, name, open);
  Result<OpenedFile> opened =
      co_await open_image_file(std::move(given), std::move(open), context.images().policy).result();
  if (!opened) {
    co_await fail(std::move(opened.error()).with_context("Could not open '" + name + "'"));
  }
  output.begin();
  output.field("filename", name);
  output.field("format", opened->format);
  Result<void> done = co_await dump_sections(*opened->file, opened->format, request, ranged, output,
                                             &context.cancel())
                          .result();
  Result<void> closed = co_await opened->file->close().result();
  if (!done) co_await fail(std::move(done.error()).with_context("Could not dump '" + name + "'"));
  output.end();
  co_await std::move(closed);
}

int run(Context& context, const Arguments& arguments) {
  const Result<bool> json = wants_json(arguments);
  if (!json) return context.fail_with(json.error());
  const Result<DumpRequest> request = parse_request(arguments, context.program());
  if (!request) return context.fail_with(request.error());
  if (arguments.positional().size() != 1) {
    context.usage_error("Expecting one image file name");
    return kExitError;
  }
  const OpenOptions open{.purpose = OpenPurpose::read_stable,
                         .format = arguments.value("format"),
                         .force_share = arguments.has("force-share")};
  DumpOutput output(*json, [&context](std::string_view text) { context.print(text); });
  const Result<void> done = context.run(dump_named(context, arguments.positional().front(), open,
                                                   *request, arguments.has("guest"), output));
  return done ? kExitOk : context.fail_with(done.error());
}

constexpr Example kExamples[] = {
    {"dump disk.qcow2", "an overview"},
    {"dump --guest 1G+64k disk.qcow2", "where the guest finds these 64 KiB"},
    {"dump --owner 0x50000 disk.qcow2", "what refers to this cluster of the file"},
};

}  // namespace

const Verb kDump{.name = "dump",
                 .operands = "FILENAME",
                 .help = "Shows the inside of an image: header, tables, counts, who owns a place",
                 .options = kOptions,
                 .run = run,
                 .description =
                     "Shows what an image is made of: its header and extensions, its "
                     "tables with the guest's or the file's addresses, its counts, "
                     "snapshots and bitmaps, and who refers to a place in the file. What "
                     "is damaged is shown at its place. No backing file is opened. "
                     "Without options: the header, the snapshots and the bitmaps.",
                 .examples = kExamples};

}  // namespace platter::cli
