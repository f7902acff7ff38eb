#include "formats/qcow2/header_sector.h"

#include <cstring>
#include <vector>

#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"

namespace platter::qcow2 {

Task<void> change_header(File& file, std::function<void(DiskHeader&)> change) {
  co_await file.flush();
  std::vector<std::byte> sector(kSectorSize);
  co_await read_zero_filled(file, 0, sector);
  DiskHeader header{};
  std::memcpy(&header, sector.data(), sizeof header);
  change(header);
  std::memcpy(sector.data(), &header, sizeof header);
  co_await file.write(0, sector);
  co_await file.flush();
}

}  // namespace platter::qcow2
