#include "formats/qcow2/header_sector.h"

#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"

namespace platter::qcow2 {

Task<Header> read_header(File& file, HeaderUse use) {
  std::array<std::byte, kSectorSize> start{};
  const std::size_t count = co_await file.read(0, start);
  const std::size_t size = co_await header_area(std::span(start).first(count));
  std::vector<std::byte> area(size);
  const std::size_t available = co_await file.read(0, area);
  co_return parse_header(std::span(area).first(available), use);
}

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
