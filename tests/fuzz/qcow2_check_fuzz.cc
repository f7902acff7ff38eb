// Any bytes as a qcow2 image: checked, repaired, and checked again.
#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/qcow2/check.h"
#include "io/memory_file.h"
#include "io/run_loop.h"

namespace {

using platter::Task;
using platter::qcow2::Repair;

Task<void> check(platter::File& file, Repair repair) {
  platter::qcow2::Header header = co_await platter::qcow2::read_header_for_check(file);
  platter::qcow2::CheckOptions options{.repair = repair};
  options.on_message = [](std::string_view) {};
  options.messages_max = 10'000;
  (void)co_await platter::qcow2::check_refcounts(header, file, std::move(options)).result();
}

Task<void> use_image(std::span<const std::byte> bytes) {
  platter::MemoryFile file("fuzzed");
  co_await file.write(0, bytes);
  co_await check(file, Repair::none);
  co_await check(file, Repair::leaks);
  co_await check(file, Repair::all);
  co_await check(file, Repair::none);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  platter::RunLoop loop;
  (void)loop.run(use_image({reinterpret_cast<const std::byte*>(data), size})).has_value();
  return 0;
}
