#include "src/ops/check.h"

#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "src/cli/image_arguments.h"
#include "src/cli/json_text.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

using qcow2::CheckReport;
using qcow2::Repair;

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "format", "FMT", "the image's format; default: decided by its content"},
    {'r', "repair", "leaks|all", "mend what can be mended: leaked clusters, or everything"},
    {0, "output", "FORMAT", "human (default) or json"},
    {'T', "", "CACHE", "cache mode: none, writeback, ...; default: writeback"},
    {'q', "", "", "print nothing but errors"},
    {'U', "force-share", "", "also where another process is writing to the image"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kImageOptsOption, kObjectOption, kPolicyOptions);

// qemu-img's exit codes for this verb.
constexpr int kExitCorrupt = 2;
constexpr int kExitLeaks = 3;
constexpr int kExitNoChecks = 63;

std::string repaired_text(const CheckReport& report) {
  return fmt::format(
      "The following inconsistencies were found and repaired:\n\n"
      "    {} leaked clusters\n"
      "    {} corruptions\n\n"
      "Double checking the fixed image now...\n",
      report.leaks_fixed, report.corruptions_fixed);
}

std::string report_text(const CheckReport& report) {
  std::string text;
  if (report.corruptions == 0 && report.leaks == 0 && report.check_errors == 0) {
    text += "No errors were found on the image.\n";
  }
  if (report.corruptions > 0) {
    text += fmt::format(
        "\n{} errors were found on the image.\nData may be corrupted, or further writes to the "
        "image may corrupt it.\n",
        report.corruptions);
  }
  if (report.leaks > 0) {
    text += fmt::format(
        "\n{} leaked clusters were found on the image.\nThis means waste of disk space, but no "
        "harm to data.\n",
        report.leaks);
  }
  if (report.check_errors > 0) {
    text +=
        fmt::format("\n{} internal errors have occurred during the check.\n", report.check_errors);
  }
  if (report.total_clusters > 0 && report.allocated_clusters > 0) {
    const auto percent = [](std::uint64_t part, std::uint64_t whole) {
      return static_cast<double>(part) * 100.0 / static_cast<double>(whole);
    };
    text +=
        fmt::format("{}/{} = {:.2f}% allocated, {:.2f}% fragmented, {:.2f}% compressed clusters\n",
                    report.allocated_clusters, report.total_clusters,
                    percent(report.allocated_clusters, report.total_clusters),
                    percent(report.fragmented_clusters, report.allocated_clusters),
                    percent(report.compressed_clusters, report.allocated_clusters));
  }
  if (report.image_end_offset > 0) {
    text += fmt::format("Image end offset: {}\n", report.image_end_offset);
  }
  return text;
}

// Keys in the order in which qemu-img prints them; what is zero is left out.
std::string report_json(const CheckReport& report, const std::string& filename,
                        const std::string& format) {
  nlohmann::ordered_json json;
  const auto add = [&json](const char* name, std::uint64_t value) {
    if (value != 0) json[name] = value;
  };
  add("image-end-offset", report.image_end_offset);
  add("compressed-clusters", report.compressed_clusters);
  add("total-clusters", report.total_clusters);
  add("corruptions", report.corruptions);
  add("corruptions-fixed", report.corruptions_fixed);
  json["check-errors"] = report.check_errors;
  add("leaks", report.leaks);
  add("leaks-fixed", report.leaks_fixed);
  add("allocated-clusters", report.allocated_clusters);
  json["filename"] = filename;
  json["format"] = format;
  add("fragmented-clusters", report.fragmented_clusters);
  return json_text(json);
}

Result<Repair> parse_repair(const Arguments& arguments) {
  Repair repair = Repair::none;
  for (const std::string& what : arguments.values("repair")) {
    if (what != "leaks" && what != "all") {
      return fail(
          ErrorKind::invalid_argument,
          fmt::format("Unknown option value for -r (expecting 'leaks' or 'all'): {}", what));
    }
    repair = what == "all" ? Repair::all : Repair::leaks;
  }
  return repair;
}

// What is known of the image, as far as it was opened.
struct Found {
  std::string name;
  std::string format;
  bool format_was_guessed = false;
  bool opened = false;
};

Task<CheckReport> check_named(const Context& context, ImageName name, OpenOptions open,
                              CheckImageOptions options, Found& found) {
  OpenedFile image =
      co_await open_image_file(std::move(name), std::move(open), context.images().policy);
  found = {.name = std::move(image.name),
           .format = std::move(image.format),
           .format_was_guessed = image.format_was_guessed};
  Result<CheckReport> report =
      co_await check_image(*image.file, found.format, std::move(options), found.opened).result();
  Result<void> closed = co_await image.file->close().result();
  if (report && !closed) co_return fail(std::move(closed.error()));
  co_return std::move(report);
}

int exit_code(const CheckReport& report) {
  if (report.corruptions > 0) return kExitCorrupt;
  return report.leaks > 0 ? kExitLeaks : kExitOk;
}

void print_message(std::string_view line) {
  std::fflush(stdout);
  fmt::print(stderr, "{}\n", line);
}

int tell(Context& context, const Arguments& arguments, bool json, const CheckReport& report,
         const std::string& format) {
  if (!arguments.has("q")) {
    context.print(json ? report_json(report, arguments.positional().front(), format)
                       : report_text(report));
  }
  if (report.messages_left_out > 0) {
    context.warning(fmt::format("{} more messages were left out", report.messages_left_out));
  }
  if (report.check_errors > 0) {
    context.error("Check failed");
    return kExitError;
  }
  return exit_code(report);
}

int run(Context& context, const Arguments& arguments) {
  const Result<Repair> repair = parse_repair(arguments);
  if (!repair) {
    context.usage_error(repair.error().message());
    return kExitError;
  }
  const Result<bool> json = wants_json(arguments);
  if (!json) return context.fail_with(json.error());
  if (arguments.positional().size() != 1) {
    context.usage_error("Expecting one image file name");
    return kExitError;
  }
  const std::string cache_name = arguments.value("T", "writeback");
  const std::optional<CacheMode> cache = parse_cache_mode(cache_name);
  if (!cache) {
    context.error(fmt::format("Invalid source cache option: {}", cache_name));
    return kExitError;
  }
  const std::string& name = arguments.positional().front();
  OpenOptions open{.purpose = *repair == Repair::none ? OpenPurpose::read_stable
                                                      : OpenPurpose::write_whole};
  open.format = arguments.value("format");
  open.cache = cache->use;
  open.durability = cache->durability;
  open.force_share = arguments.has("force-share");
  if (open.force_share && *repair != Repair::none) {
    context.error(fmt::format(
        "Could not open '{}': force-share=on can only be used with read-only images", name));
    return kExitError;
  }
  Result<ImageName> image = given_name(context, name, open);
  if (!image) return context.fail_with(image.error());
  CheckImageOptions options{.repair = *repair, .cancel = &context.cancel()};
  if (const auto memory = context.images().memory_max) options.memory_max = *memory;
  options.on_message = print_message;
  options.on_repaired = [&](const CheckReport& report) {
    if (!*json && !arguments.has("q")) context.print(repaired_text(report));
  };
  Found found;
  Result<CheckReport> report = context.run(
      check_named(context, *std::move(image), std::move(open), std::move(options), found));
  if (report) return tell(context, arguments, *json, *report, found.format);
  const bool has_checks = found.format.empty() || found.format == "qcow2";
  if (!found.opened && report.error().kind() == ErrorKind::unsupported && !has_checks) {
    if (*repair != Repair::none && found.format_was_guessed) warn_of_guess(found.name);
    return context.fail_with(report.error(), kExitNoChecks);
  }
  const std::string what = found.opened ? "Check failed" : "Could not open '" + name + "'";
  return context.fail_with(std::move(report.error()).with_context(what));
}

constexpr Example kExamples[] = {
    {"check disk.qcow2", "tell what is wrong"},
    {"check -r all disk.qcow2", "mend it"},
};

constexpr ExitCode kExitCodes[] = {
    {kExitOk, "no errors were found, or all were mended"},
    {kExitError, "the check could not be done"},
    {kExitCorrupt, "there are errors"},
    {kExitLeaks, "there are leaked clusters, and no errors"},
    {kExitNoChecks, "images of this format can't be checked"},
};

}  // namespace

const Verb kCheck{
    .name = "check",
    .operands = "FILENAME",
    .help = "Checks an image's metadata, and repairs it",
    .options = kOptions,
    .run = run,
    .description =
        "Looks at all metadata of a qcow2 image: reference counts beside the references there are, "
        "flags, tables, snapshots. Errors endanger data; leaked clusters only take space. Nothing "
        "is changed without -r.\n\n"
        "With -r leaks only leaked clusters are given up; with -r all everything is mended that "
        "can be, and nothing that is referred to is overwritten. The image is locked meanwhile.",
    .exit_codes = kExitCodes,
    .examples = kExamples};

}  // namespace platter::cli
