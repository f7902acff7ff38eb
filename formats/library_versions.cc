#include "formats/library_versions.h"

#include <isa-l.h>
#include <libdeflate.h>
#include <zlib.h>
#include <zstd.h>

#include <fmt/format.h>

namespace platter {

std::vector<LibraryVersion> library_versions() {
  return {
      {"zlib", ::zlibVersion()},
      {"libdeflate", LIBDEFLATE_VERSION_STRING},
      {"ISA-L",
       fmt::format("{}.{}.{}", ISAL_MAJOR_VERSION, ISAL_MINOR_VERSION, ISAL_PATCH_VERSION)},
      {"zstd", ::ZSTD_versionString()},
  };
}

}  // namespace platter
