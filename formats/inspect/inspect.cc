#include "formats/inspect/inspect.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "formats/inspect/bounded_reader.h"
#include "formats/inspect/detector.h"
#include "formats/probe.h"
#include "io/direct_file.h"

namespace platter {
namespace {

using inspect::BoundedReader;
using inspect::Detection;
namespace code = inspect::code;

struct Detector {
  std::string_view format;
  Task<Detection> (*detect)(BoundedReader&);
};

constexpr std::array kDetectors = {
    Detector{"qcow2", inspect::detect_qcow2}, Detector{"luks", inspect::detect_luks},
    Detector{"gpt", inspect::detect_gpt},     Detector{"mbr", inspect::detect_mbr},
    Detector{"iso", inspect::detect_iso},     Detector{"vmdk", inspect::detect_vmdk},
    Detector{"vhd", inspect::detect_vhd},     Detector{"vhdx", inspect::detect_vhdx},
    Detector{"vdi", inspect::detect_vdi},     Detector{"qed", inspect::detect_qed}};

bool is_partition_table(std::string_view format) { return format == "gpt" || format == "mbr"; }

// The name that a declaration means.
std::string_view canonical(std::string_view name) { return name == "vpc" ? "vhd" : name; }

class Inspector {
 public:
  Inspector(File& file, const InspectOptions& options)
      : options_(options), reader_(file, kInspectionReadMax, options.cancel) {}

  Task<Inspection> run();

 private:
  Task<void> detect();
  void decide();
  void refuse_several();
  void look_for_others();
  void check_declared();
  void check_size();
  bool matches(std::string_view format) const {
    return std::ranges::find(result_.matches, format) != result_.matches.end();
  }

  const InspectOptions& options_;
  BoundedReader reader_;
  Inspection result_;
};

Task<void> Inspector::detect() {
  for (const Detector& detector : kDetectors) {
    Detection detection = co_await detector.detect(reader_);
    if (!detection.matches) continue;
    result_.matches.emplace_back(detector.format);
    if (detection.virtual_size) result_.virtual_size = detection.virtual_size;
    std::ranges::move(detection.findings, std::back_inserter(result_.findings));
  }
}

void Inspector::decide() {
  std::vector<std::string> formats = result_.matches;
  // A partition table is contents; of a raw disk, of an iso's start, of a fixed vhd.
  if (matches("iso") || (matches("vhd") && is_fixed_vhd(reader_))) {
    std::erase_if(formats, is_partition_table);
  }
  if (formats.empty()) {
    result_.format = "raw";
  } else if (formats.size() == 1) {
    result_.format = formats.front();
  } else {
    refuse_several();
    return;
  }
  if (result_.format == "raw" || is_partition_table(result_.format) || result_.format == "iso") {
    result_.virtual_size = result_.file_size;
  }
}

void Inspector::refuse_several() {
  result_.virtual_size.reset();
  std::string names;
  for (const std::string& name : result_.matches) names += (names.empty() ? "" : ", ") + name;
  result_.findings.insert(
      result_.findings.begin(),
      Finding{code::kSeveral, "the file is of several formats at once: " + names, {}, true});
}

// Formats that other programs would find by probing, and that none of the detectors knows.
void Inspector::look_for_others() {
  const auto head = reader_.head().from(0, kProbeSize).span();
  const std::string_view probed = probe_format(head);
  if (probed == "raw" || probed == "qcow" || matches(canonical(probed))) return;
  result_.format.clear();
  result_.virtual_size.reset();
  result_.findings.push_back(
      {code::kUnknownFormat,
       fmt::format("the file looks like format '{}', which is not accepted", probed), 0, true});
}

void Inspector::check_declared() {
  const std::string_view declared = canonical(options_.declared);
  if (declared.empty() || result_.format.empty() || declared == result_.format) return;
  if (declared == "raw" && is_partition_table(result_.format)) return;
  result_.findings.push_back(
      {code::kMismatch,
       fmt::format("declared as '{}', but the content is '{}'", options_.declared, result_.format),
       {},
       true});
}

void Inspector::check_size() {
  // Where an image does not say, what it takes is the least that it can be.
  const std::uint64_t size = result_.virtual_size.value_or(result_.file_size);
  if (!options_.virtual_size_max || size <= *options_.virtual_size_max) return;
  result_.findings.push_back(
      {code::kVirtualSize,
       fmt::format("the disk has {} bytes; at most {} are taken", size, *options_.virtual_size_max),
       {},
       true});
}

Task<Inspection> Inspector::run() {
  if (!options_.declared.empty() && !is_inspected_format(options_.declared)) {
    co_return fail(ErrorKind::invalid_argument,
                   fmt::format("Unknown format '{}'", options_.declared));
  }
  co_await reader_.start();
  result_.file_size = reader_.file_size();
  co_await detect();
  decide();
  look_for_others();
  check_declared();
  check_size();
  if (reader_.exhausted()) {
    result_.findings.push_back(
        {code::kTooMuch, "the image claims more metadata than an inspection reads", {}, true});
  }
  result_.bytes_read = reader_.bytes_read();
  co_return std::move(result_);
}

}  // namespace

bool Inspection::safe() const noexcept { return std::ranges::none_of(findings, &Finding::unsafe); }

bool is_inspected_format(std::string_view name) noexcept {
  return name == "raw" || std::ranges::any_of(kDetectors, [name](const Detector& detector) {
           return detector.format == canonical(name);
         });
}

Task<Inspection> inspect_file(File& file, InspectOptions options) {
  Inspector inspector(file, options);
  co_return co_await inspector.run();
}

Task<Inspection> inspect_descriptor(int fd, std::string name, InspectOptions options) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) co_return fail_errno(errno, "stat", name);
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
    co_return fail(ErrorKind::wrong_type,
                   "'" + name + "' is neither a regular file nor a block device");
  }
  const int flags = ::fcntl(fd, F_GETFL);
  UniqueFd own(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (flags < 0 || !own) co_return fail_errno(errno, "duplicate", name);
  // The flags are shared with the caller's descriptor.
  const CacheUse cache = (flags & O_DIRECT) != 0 ? CacheUse::direct : CacheUse::buffered;
  const std::unique_ptr<DirectFile> file =
      co_await DirectFile::adopt(std::move(own), std::move(name), {.cache = cache});
  Result<Inspection> inspection = co_await inspect_file(*file, std::move(options)).result();
  Result<void> closed = co_await file->close().result();
  if (inspection && !closed) co_return fail(std::move(closed.error()));
  co_return std::move(inspection);
}

namespace inspect {

bool Detection::has(std::string_view code) const noexcept {
  return std::ranges::find(findings, code, &Finding::code) != findings.end();
}

std::string quoted(std::string_view text) {
  constexpr std::size_t kShown = 256;
  std::string shown = "'";
  for (const char character : text.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte >= 0x20 && byte < 0x7f && character != '\\' && character != '\'') {
      shown += character;
    } else {
      shown += fmt::format("\\x{:02x}", byte);
    }
  }
  return shown + (text.size() > kShown ? "'..." : "'");
}

}  // namespace inspect
}  // namespace platter
