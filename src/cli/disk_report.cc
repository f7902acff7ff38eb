#include "src/cli/disk_report.h"

#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "src/cli/size.h"

namespace platter::cli {
namespace {

nlohmann::ordered_json or_null(const std::optional<std::string>& text) {
  return text ? nlohmann::ordered_json(*text) : nlohmann::ordered_json();
}

}  // namespace

std::string disk_text(const provision::DiskReport& report, bool planned) {
  const std::string_view done = report.created ? (planned ? "Would create" : "Created")
                                : report.grown ? (planned ? "Would grow" : "Grew")
                                               : "Nothing to do for";
  std::string text =
      fmt::format("{} '{}': format {}, {} ({} bytes)\n", done, report.path, report.format,
                  human_size(report.virtual_size), report.virtual_size);
  if (report.base_fetched) {
    text += planned ? "the base would be fetched\n" : "the base was fetched\n";
  }
  if (report.backing_file) {
    text += fmt::format("backing file: {} (format {})\n", *report.backing_file,
                        report.backing_format.value_or("unknown"));
  }
  if (report.shares_blocks) text += "it shares the base's blocks\n";
  return text;
}

nlohmann::ordered_json disk_json(const provision::DiskName& name, provision::BackendKind backend,
                                 const provision::DiskReport& report, bool planned) {
  nlohmann::ordered_json json;
  json["instance"] = name.instance;
  json["disk"] = name.disk;
  json["backend"] = to_string(backend);
  json["path"] = report.path;
  json["format"] = report.format;
  json["virtual-size"] = report.virtual_size;
  json["backing-filename"] = or_null(report.backing_file);
  json["backing-format"] = or_null(report.backing_format);
  json["base"] = or_null(report.base);
  json["created"] = report.created;
  json["grown"] = report.grown;
  json["base-fetched"] = report.base_fetched;
  json["shares-blocks"] = report.shares_blocks;
  json["dry-run"] = planned;
  return json;
}

}  // namespace platter::cli
