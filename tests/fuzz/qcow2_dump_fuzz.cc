// Any bytes as a qcow2 image whose inside is looked at: everything that `dump` reads.
#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/qcow2/dump_directories.h"
#include "formats/qcow2/dump_header.h"
#include "formats/qcow2/owners.h"
#include "io/memory_file.h"
#include "io/run_loop.h"

namespace {

using platter::Task;
using namespace platter::qcow2;

Task<void> look(std::span<const std::byte> bytes) {
  platter::MemoryFile file("fuzzed");
  co_await file.write(0, bytes);
  const RawHeader raw = co_await read_raw_header(file);
  if (!raw.geometry) co_return;
  const DumpSource source{
      .header = *raw.geometry, .file = file, .file_size = raw.file_size, .cancel = nullptr};
  std::uint64_t left = 20'000;
  auto some = [&left](const auto&) { return left > 0 && --left > 0; };
  co_await dump_l1(source, {}, some);
  co_await dump_l2(source, {}, some);
  co_await dump_refcount_table(source, {}, some);
  co_await dump_refcounts(source, {}, some);
  (void)co_await dump_snapshots(source, some);
  auto tables = [&](const BitmapRow&) { return --left > 0; };
  left = 1000;
  (void)co_await dump_bitmaps(source, tables);
  left = 20'000;
  for (const std::uint64_t at : {std::uint64_t{0}, raw.file_size / 2, raw.file_size}) {
    (void)co_await find_owners(source, at, some);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  platter::RunLoop loop;
  (void)loop.run(look({reinterpret_cast<const std::byte*>(data), size})).has_value();
  return 0;
}
