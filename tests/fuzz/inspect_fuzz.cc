// Any bytes inspected: no crash, bounded reads, and an answer that is consistent with itself.
#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/inspect/inspect.h"
#include "io/check.h"
#include "io/memory_file.h"
#include "io/run_loop.h"

namespace {

using platter::Inspection;
using platter::Task;

Task<void> inspect(std::span<const std::byte> bytes) {
  platter::MemoryFile file("fuzzed");
  co_await file.write(0, bytes);
  for (const bool large : {false, true}) {
    // Places far behind are within the file then.
    if (large) co_await file.truncate(std::uint64_t{1} << 40);
    const Inspection inspection = co_await platter::inspect_file(file, {.declared = "raw"});
    PLATTER_CHECK(inspection.bytes_read <= platter::kInspectionReadMax);
    const bool raw =
        inspection.format == "raw" || inspection.format == "gpt" || inspection.format == "mbr";
    if (inspection.safe()) PLATTER_CHECK(raw);
    PLATTER_CHECK(inspection.matches.size() <= 10);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  platter::RunLoop loop;
  PLATTER_CHECK(loop.run(inspect({reinterpret_cast<const std::byte*>(data), size})));
  return 0;
}
