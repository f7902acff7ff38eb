#include "crypto/lvm_report.h"

#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace platter {
namespace {

using Json = nlohmann::json;

std::unexpected<Error> not_a_report(std::string_view why) {
  return fail(ErrorKind::io, fmt::format("LVM's report can't be read: {}", why));
}

// One row. LVM quotes numbers too.
class Row {
 public:
  explicit Row(const Json& row) : row_(row) {}

  std::string text(const char* field) {
    const auto found = row_.find(field);
    if (found == row_.end() || !found->is_string()) {
      missing_ = field;
      return {};
    }
    return found->get<std::string>();
  }

  template <class Number>
  Number number(const char* field) {
    return optional_number<Number>(field).value_or(Number{});
  }

  // An empty field is nothing.
  template <class Number>
  std::optional<Number> optional_number(const char* field) {
    const std::string value = text(field);
    if (value.empty()) return std::nullopt;
    Number number{};
    const auto parsed = std::from_chars(value.data(), value.data() + value.size(), number);
    if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size()) missing_ = field;
    return number;
  }

  bool whole() const noexcept { return missing_ == nullptr; }
  std::unexpected<Error> error() const {
    return not_a_report(fmt::format("no usable field '{}'", missing_));
  }

 private:
  const Json& row_;
  const char* missing_ = nullptr;
};

// {"report": [{"lv": [{...}, ...]}, ...]}: all rows of all parts.
Result<std::vector<Json>> rows_of(std::string_view report, const char* kind) {
  const Json document = Json::parse(report, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded() || !document.is_object()) return not_a_report("it is not JSON");
  const auto parts = document.find("report");
  if (parts == document.end() || !parts->is_array()) return not_a_report("it has no 'report'");
  std::vector<Json> rows;
  for (const Json& part : *parts) {
    const auto list = part.is_object() ? part.find(kind) : part.end();
    if (list == part.end() || !list->is_array()) continue;
    for (const Json& row : *list) {
      if (!row.is_object()) return not_a_report("a row is not an object");
      rows.push_back(row);
    }
  }
  return rows;
}

bool in_list(std::string_view list, std::string_view word) {
  return ("," + std::string(list) + ",").contains("," + std::string(word) + ",");
}

VolumeKind kind_of(std::string_view layout, std::string_view role) {
  if (in_list(layout, "thin")) {
    return in_list(layout, "pool") ? VolumeKind::thin_pool : VolumeKind::thin;
  }
  if (in_list(role, "thicksnapshot")) return VolumeKind::snapshot;
  return layout == "linear" ? VolumeKind::linear : VolumeKind::other;
}

std::vector<std::string> report_command(std::string_view command, std::string_view fields) {
  return {std::string(command), "--reportformat", "json", "--units", "b", "--nosuffix", "-o",
          std::string(fields)};
}

}  // namespace

std::vector<std::string> group_report_command() {
  return report_command("vgs", "vg_name,vg_uuid,vg_size,vg_free,vg_extent_size");
}

std::vector<std::string> volume_report_command() {
  return report_command("lvs",
                        "lv_name,lv_uuid,lv_size,lv_layout,lv_role,lv_active,pool_lv,origin,"
                        "data_percent,metadata_percent,lv_kernel_major,lv_kernel_minor");
}

Result<std::vector<VolumeGroupInfo>> parse_group_report(std::string_view report) {
  Result<std::vector<Json>> rows = rows_of(report, "vg");
  if (!rows) return fail(std::move(rows.error()));
  std::vector<VolumeGroupInfo> groups;
  for (const Json& json : *rows) {
    Row row(json);
    groups.push_back({.name = row.text("vg_name"),
                      .uuid = row.text("vg_uuid"),
                      .size = row.number<std::uint64_t>("vg_size"),
                      .free = row.number<std::uint64_t>("vg_free"),
                      .extent_size = row.number<std::uint64_t>("vg_extent_size")});
    if (!row.whole()) return row.error();
  }
  return groups;
}

Result<std::vector<VolumeInfo>> parse_volume_report(std::string_view report) {
  Result<std::vector<Json>> rows = rows_of(report, "lv");
  if (!rows) return fail(std::move(rows.error()));
  std::vector<VolumeInfo> volumes;
  for (const Json& json : *rows) {
    Row row(json);
    VolumeInfo volume{.name = row.text("lv_name"),
                      .uuid = row.text("lv_uuid"),
                      .size = row.number<std::uint64_t>("lv_size"),
                      .kind = kind_of(row.text("lv_layout"), row.text("lv_role")),
                      .pool = row.text("pool_lv"),
                      .origin = row.text("origin"),
                      .active = row.text("lv_active") == "active",
                      .data_percent = row.optional_number<double>("data_percent"),
                      .metadata_percent = row.optional_number<double>("metadata_percent")};
    // -1: none.
    const auto major = row.number<std::int64_t>("lv_kernel_major");
    const auto minor = row.number<std::int64_t>("lv_kernel_minor");
    if (major >= 0 && minor >= 0) {
      volume.major = static_cast<std::uint32_t>(major);
      volume.minor = static_cast<std::uint32_t>(minor);
    }
    if (!row.whole()) return row.error();
    volumes.push_back(std::move(volume));
  }
  return volumes;
}

}  // namespace platter
