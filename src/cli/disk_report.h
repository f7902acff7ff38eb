// A disk that was made, as text and as JSON.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "src/provision/image_backend.h"

namespace platter::cli {

/// `planned`: it was not made.
std::string disk_text(const provision::DiskReport& report, bool planned);
/// The keys of docs/provisioning.md: all of them, always.
nlohmann::ordered_json disk_json(const provision::DiskName& name, provision::BackendKind backend,
                                 const provision::DiskReport& report, bool planned);

}  // namespace platter::cli
