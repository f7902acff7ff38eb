// platter volume list
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "src/cli/json_text.h"
#include "src/cli/size.h"
#include "src/cli/volume.h"

namespace platter::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Group {
  VolumeGroupInfo info;
  std::vector<VolumeInfo> volumes;
};

Task<std::vector<Group>> look(std::string name) {
  std::vector<VolumeGroupInfo> infos;
  if (name.empty()) {
    infos = co_await VolumeGroup::all();
  } else {
    const VolumeGroup group = co_await VolumeGroup::named(std::move(name));
    infos.push_back(co_await group.info());
  }
  std::vector<Group> groups;
  for (VolumeGroupInfo& info : infos) {
    const VolumeGroup group = co_await VolumeGroup::named(info.name);
    std::vector<VolumeInfo> volumes = co_await group.volumes();
    groups.push_back({std::move(info), std::move(volumes)});
  }
  co_return groups;
}

Json json_of(const VolumeGroupInfo& group, const VolumeInfo& volume) {
  Json json{{"name", volume.name}, {"path", "/dev/" + group.name + "/" + volume.name},
            {"uuid", volume.uuid}, {"kind", to_string(volume.kind)},
            {"size", volume.size}, {"active", volume.active}};
  if (!volume.pool.empty()) json["pool"] = volume.pool;
  if (!volume.origin.empty()) json["origin"] = volume.origin;
  if (volume.data_percent) json["data-percent"] = *volume.data_percent;
  if (volume.metadata_percent) json["metadata-percent"] = *volume.metadata_percent;
  return json;
}

Json json_of(const std::vector<Group>& groups) {
  Json list = Json::array();
  for (const Group& group : groups) {
    Json volumes = Json::array();
    for (const VolumeInfo& volume : group.volumes) volumes.push_back(json_of(group.info, volume));
    list.push_back({{"name", group.info.name},
                    {"uuid", group.info.uuid},
                    {"size", group.info.size},
                    {"free", group.info.free},
                    {"extent-size", group.info.extent_size},
                    {"volumes", std::move(volumes)}});
  }
  return list;
}

std::string text_of(const std::vector<Group>& groups) {
  std::string text;
  for (const Group& group : groups) {
    text += fmt::format("{}: {}, {} free\n", group.info.name, human_size(group.info.size),
                        human_size(group.info.free));
    for (const VolumeInfo& volume : group.volumes) {
      text += fmt::format("  {:<40} {:<10} {:>10}{}", volume.name, to_string(volume.kind),
                          human_size(volume.size), volume.active ? "" : "  inactive");
      if (!volume.pool.empty()) text += "  in " + volume.pool;
      if (!volume.origin.empty()) text += "  of " + volume.origin;
      if (volume.data_percent) text += fmt::format("  {:.2f} % full", *volume.data_percent);
      text += '\n';
    }
  }
  return text;
}

}  // namespace

int volume_list(Context& context, const Arguments& arguments) {
  const std::string output = arguments.value("output", "human");
  if (output != "human" && output != "json") {
    context.error("--output must be used with human or json as argument.");
    return kExitError;
  }
  const Result<std::vector<Group>> groups = context.run(look(operand(arguments, 0)));
  if (!groups) return context.fail_with(groups.error());
  context.print(output == "json" ? json_text(json_of(*groups)) : text_of(*groups));
  return kExitOk;
}

}  // namespace platter::cli
