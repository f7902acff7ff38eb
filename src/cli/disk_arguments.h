// What the verbs for instances' disks share: which disk, kept where.
#pragma once

#include "src/cli/arguments.h"
#include "src/provision/config.h"
#include "src/provision/names.h"

namespace platter::cli {

inline constexpr Option kPlaceOptions[] = {
    {0, "config", "FILE", "the host's configuration (TOML)"},
    {0, "backend", "flat|qcow2|lvm", "where disks are kept; default: as configured, else qcow2"},
    {0, "instances", "DIR", "the folder of instances; default: as configured"},
};
inline constexpr Option kDiskOptions[] = {
    {0, "instance", "UUID", "the instance that the disk is of"},
    {0, "disk", "NAME", "the disk's name, such as disk or disk.eph0"},
};

/// The configuration file, if one is given, and what the command line says in its place. A relative
/// folder is made absolute. Errors: those of read_config() and check().
Result<provision::Config> given_config(const Arguments& arguments);

/// Errors: invalid_argument (missing, or no such name can be).
Result<provision::DiskName> given_disk(const Arguments& arguments);

}  // namespace platter::cli
