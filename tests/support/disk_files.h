// Disks as files, for tools that look at them.
#pragma once

#include <cstddef>
#include <string>

#include "tests/support/disk.h"

namespace platter::test {

/// What a file holds, holes as holes.
Disk read_disk(const std::string& path);
/// Makes the file hold that, anew.
void write_disk(const std::string& path, const Disk& disk);
/// Equal for equal disks; holes count as such.
std::size_t hash_of(const Disk& disk);

}  // namespace platter::test
