// Versions of the foreign libraries that formats stand on: for --version and bug reports.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace platter {

struct LibraryVersion {
  std::string_view name;
  std::string version;
};

/// Of the libraries that run where they tell, else of those that were compiled against.
std::vector<LibraryVersion> library_versions();

}  // namespace platter
