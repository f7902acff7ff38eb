#include <limits>
#include <optional>

#include <fmt/format.h>

#include "crypto/cipher_file.h"
#include "src/cli/image_arguments.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "format", "FMT", "the image's format; default: decided by its content"},
    {0, "output", "FORMAT", "human (default) or json"},
    {'s', "start-offset", "OFFSET", "guest offset to begin at; default: 0"},
    {'l', "max-length", "LENGTH", "guest bytes to map; default: all"},
    {'U', "force-share", "", "also where another process is writing to the image"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kImageOptsOption, kObjectOption, kPolicyOptions);

constexpr std::size_t kMappingsAtOnce = 1024;

// One line of output: neighbouring mappings that tell the same make one.
struct Entry {
  std::uint64_t start = 0;
  std::uint64_t length = 0;
  bool present = false;
  bool zero = false;
  bool data = false;
  unsigned depth = 0;
  std::optional<std::uint64_t> offset;
  std::string filename;
};

Entry entry_of(const Mapping& mapping) {
  Entry entry{.start = mapping.offset, .length = mapping.length};
  entry.present = mapping.kind != MappingKind::unallocated;
  entry.data = mapping.kind == MappingKind::data || mapping.kind == MappingKind::compressed;
  entry.zero = !entry.data;
  entry.data = entry.data || mapping.hole_of_data;
  entry.depth = mapping.depth;
  // What is decrypted on the way lies nowhere as it is.
  if (mapping.file != nullptr && dynamic_cast<const CipherFile*>(mapping.file) == nullptr) {
    entry.offset = mapping.file_offset;
    entry.filename = mapping.file->name();
  }
  return entry;
}

bool goes_on(const Entry& entry, const Entry& next) {
  if (entry.present != next.present || entry.zero != next.zero || entry.data != next.data ||
      entry.depth != next.depth || entry.offset.has_value() != next.offset.has_value() ||
      entry.filename != next.filename) {
    return false;
  }
  return !entry.offset || *entry.offset + entry.length == *next.offset;
}

// qemu-img's two formats. Written as it goes: an image may have millions of entries.
class MapWriter {
 public:
  MapWriter(Context& context, bool json) : context_(context), json_(json) {}

  void begin(std::uint64_t start) {
    current_ = Entry{.start = start};
    if (!json_) {
      context_.print(
          fmt::format("{:<16}{:<16}{:<16}{}\n", "Offset", "Length", "Mapped to", "File"));
    }
  }
  Result<void> add(const Entry& entry) {
    if (current_.length > 0 && goes_on(current_, entry)) {
      current_.length += entry.length;
      return {};
    }
    if (current_.length > 0) {
      if (auto written = write(/*last=*/false); !written) return written;
    }
    current_ = entry;
    return {};
  }
  Result<void> end() { return write(/*last=*/true); }

 private:
  static const char* word(bool value) { return value ? "true" : "false"; }
  static std::string hex(std::uint64_t value) {
    return value == 0 ? "0" : fmt::format("{:#x}", value);
  }

  Result<void> write(bool last) {
    if (json_) {
      write_json(last);
    } else if (current_.data && !current_.offset) {
      // This form has no way to say where such data is.
      return fail(ErrorKind::unsupported,
                  "File contains external, encrypted or compressed clusters.");
    } else if (current_.data && !current_.zero && current_.offset) {
      context_.print(fmt::format("{:<16}{:<16}{:<16}{}\n", hex(current_.start),
                                 hex(current_.length), hex(*current_.offset), current_.filename));
    }
    return {};
  }
  void write_json(bool last) {
    std::string text = fmt::format(
        "{}{{ \"start\": {}, \"length\": {}, \"depth\": {}, \"present\": {}, \"zero\": {}, "
        "\"data\": {}",
        first_ ? "[" : ",\n", current_.start, current_.length, current_.depth,
        word(current_.present), word(current_.zero), word(current_.data));
    if (current_.offset) text += fmt::format(", \"offset\": {}", *current_.offset);
    text += last ? "}]\n" : "}";
    first_ = false;
    context_.print(text);
  }

  Context& context_;
  bool json_;
  bool first_ = true;
  Entry current_;
};

Task<void> write_map(Context& context, MapWriter& writer, std::string name, OpenOptions options,
                     std::uint64_t start, std::uint64_t length_max) {
  const OpenedImage opened = co_await open_given(context, std::move(name), std::move(options));
  Image& image = *opened.image;
  const std::uint64_t size = image.virtual_size();
  const std::uint64_t end = start < size ? start + std::min(length_max, size - start) : start;
  writer.begin(start);
  for (std::uint64_t at = start; at < end;) {
    co_await context.cancel().check();
    const auto mappings = co_await image.map_chain(at, end - at, kMappingsAtOnce);
    for (const Mapping& mapping : mappings) co_await writer.add(entry_of(mapping));
    at = mappings.back().offset + mappings.back().length;
  }
  co_await writer.end();
  co_await image.close();
}

int run(Context& context, const Arguments& arguments) {
  const Result<bool> json = wants_json(arguments);
  if (!json) return context.fail_with(json.error());
  std::uint64_t start = 0;
  std::uint64_t length_max = std::numeric_limits<std::uint64_t>::max();
  struct Bound {
    std::string_view option;
    std::string_view what;
    std::uint64_t& value;
  };
  for (const Bound& bound : {Bound{"start-offset", "start offset", start},
                             Bound{"max-length", "max length", length_max}}) {
    if (!arguments.has(bound.option)) continue;
    const Result<std::uint64_t> parsed =
        parse_size_argument(arguments.value(bound.option), bound.what, context.program());
    if (!parsed) return context.fail_with(parsed.error());
    bound.value = *parsed;
  }
  if (arguments.positional().size() != 1) {
    context.usage_error("Expecting one image file name");
    return kExitError;
  }
  OpenOptions options{.purpose = OpenPurpose::read};
  options.format = arguments.value("format");
  options.force_share = arguments.has("force-share");
  MapWriter writer(context, *json);
  const Result<void> done = context.run(write_map(context, writer, arguments.positional().front(),
                                                  std::move(options), start, length_max));
  return done ? kExitOk : context.fail_with(done.error());
}

constexpr Example kExamples[] = {
    {"map --output=json disk.qcow2", "every run, zeroes too"},
};

}  // namespace

const Verb kMap{
    .name = "map",
    .operands = "FILENAME",
    .help = "Tells where an image's data lies in its files",
    .options = kOptions,
    .run = run,
    .description =
        "Tells for each run of a guest's disk whether it is data or zeroes, which image of the "
        "backing chain it is in, and at what place of which file. For people only data is listed.",
    .examples = kExamples};

}  // namespace platter::cli
