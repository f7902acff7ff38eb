// LVM's reports, as `--reportformat json` prints them. Internal to crypto/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "crypto/volume_group.h"
#include "io/error.h"

namespace platter {

/// The words that ask for what is parsed below, to be followed by a group or "GROUP/VOLUME".
std::vector<std::string> group_report_command();
std::vector<std::string> volume_report_command();

/// Errors: io (not such a report).
Result<std::vector<VolumeGroupInfo>> parse_group_report(std::string_view report);
Result<std::vector<VolumeInfo>> parse_volume_report(std::string_view report);

}  // namespace platter
