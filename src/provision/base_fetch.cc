#include "src/provision/base_fetch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "formats/inspect/inspect.h"
#include "io/direct_file.h"
#include "src/ops/convert.h"
#include "src/provision/image_files.h"

namespace platter::provision {
namespace {

constexpr mode_t kBaseMode = 0644;
constexpr std::size_t kResumeMax = 4096;

// What was in the page cache when the machine went down may be missing from the file: a fetch goes on
// within one boot alone.
std::string boot_id() {
  std::array<char, 64> id{};
  const UniqueFd fd(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  const ssize_t count = fd ? ::read(fd.get(), id.data(), id.size()) : 0;
  std::string text(id.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

class Fetching {
 public:
  explicit Fetching(const BaseFetch& fetch)
      : fetch_(fetch),
        name_(fetch.request.name),
        part_(name_ + ".part"),
        converted_(name_ + ".converted"),
        resume_(name_ + ".resume") {}

  Task<void> run();

 private:
  Task<void> fetch();
  Task<void> fetch_into(DirectFile& file);
  Task<void> check_and_publish();
  Task<void> convert_part(std::string format);
  Task<std::string> format_of(std::string name, std::string declared);
  Task<void> publish(std::string name);
  Result<ResumePoint> resume_point(int fd) const;
  Result<void> keep_validator(const std::string& validator);
  Result<void> remove(const std::string& name) const;

  const BaseFetch& fetch_;
  std::string name_;
  std::string part_;
  std::string converted_;
  std::string resume_;
  bool can_resume_ = false;
};

Result<void> Fetching::remove(const std::string& name) const {
  Result<bool> removed = fetch_.bases.remove_file(name);
  if (!removed) return fail(std::move(removed.error()));
  return {};
}

Result<ResumePoint> Fetching::resume_point(int fd) const {
  if (!fetch_.request.source->resumable()) return ResumePoint{};
  const Result<UniqueFd> file = fetch_.bases.open_file(resume_, O_RDONLY);
  if (!file && file.error().kind() == ErrorKind::not_found) return ResumePoint{};
  if (!file) return fail(file.error().clone());
  std::string text(kResumeMax, '\0');
  const ssize_t count = ::read(file->get(), text.data(), text.size());
  if (count < 0) return fail_errno(errno, "read", fetch_.bases.path_of(resume_));
  text.resize(static_cast<std::size_t>(count));
  const std::string prefix = boot_id() + "\n";
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail_errno(errno, "stat", fetch_.bases.path_of(part_));
  // A text that was cut is no validator: it ends with a newline.
  if (!text.starts_with(prefix) || !text.ends_with('\n') || text.size() <= prefix.size()) {
    return ResumePoint{};
  }
  return ResumePoint{.bytes = static_cast<std::uint64_t>(status.st_size),
                     .validator = text.substr(prefix.size(), text.size() - prefix.size() - 1)};
}

Result<void> Fetching::keep_validator(const std::string& validator) {
  can_resume_ = false;
  if (Result<void> removed = remove(resume_); !removed) return removed;
  const bool of_use = fetch_.request.source->resumable() && !validator.empty();
  if (!of_use || validator.contains('\n')) return {};
  const std::string text = boot_id() + "\n" + validator + "\n";
  if (text.size() > kResumeMax) return {};
  const Result<UniqueFd> file = fetch_.bases.open_file(resume_, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (!file) return fail(file.error().clone());
  const ssize_t count = ::write(file->get(), text.data(), text.size());
  if (count != std::ssize(text)) {
    return fail_errno(count < 0 ? errno : EIO, "write", fetch_.bases.path_of(resume_));
  }
  can_resume_ = true;
  return {};
}

Task<void> Fetching::fetch_into(DirectFile& file) {
  const LimitConfig& limits = fetch_.config.limits;
  FetchOptions options;
  options.limits.size_max = limits.template_max;
  options.limits.digest = fetch_.request.digest;
  options.resume = co_await resume_point(file.fd());
  can_resume_ = options.resume.bytes > 0;
  options.on_validator = [this](const std::string& validator) { return keep_validator(validator); };
  options.progress = fetch_.progress;
  options.cancel = fetch_.cancel;
  co_await fetch_.request.source->fetch(file, std::move(options));
  co_await file.flush();
}

Task<void> Fetching::fetch() {
  UniqueFd fd = co_await fetch_.bases.open_file(part_, O_RDWR | O_CREAT, kBaseMode);
  co_await fetch_.bases.hand_over(fd.get(), part_);
  const std::unique_ptr<DirectFile> file = co_await DirectFile::adopt(
      std::move(fd), fetch_.bases.path_of(part_), {.access = Access::read_write});
  Result<void> fetched = co_await fetch_into(*file).result();
  Result<void> closed = co_await file->close().result();
  if (!fetched) co_await fail(std::move(fetched.error()));
  co_await std::move(closed);
}

Task<std::string> Fetching::format_of(std::string name, std::string declared) {
  const UniqueFd fd = co_await fetch_.bases.open_file(name, O_RDONLY);
  co_return co_await safe_format(fd.get(), fetch_.bases.path_of(name), std::move(declared),
                                 fetch_.config, fetch_.cancel);
}

Task<void> Fetching::convert_part(std::string format) {
  ConvertOptions options;
  options.sources.emplace_back(fetch_.bases.path_of(part_));
  options.source_format = std::move(format);
  options.target = fetch_.bases.path_of(converted_);
  options.policy.lookup = fetch_.bases.lookup();
  options.target_lookup = options.policy.lookup;
  options.copy.cancel = fetch_.cancel;
  co_await convert(std::move(options));
}

Task<void> Fetching::publish(std::string name) {
  const UniqueFd fd = co_await fetch_.bases.open_file(name, O_RDONLY);
  co_await fetch_.bases.hand_over(fd.get(), name);
  // Before the base has its name: nobody would look for leftovers of one that is there.
  for (const std::string& left : {part_, converted_, resume_}) {
    if (left != name) co_await remove(left);
  }
  co_await fetch_.bases.rename(name, name_);
  co_await fetch_.bases.sync();
}

// What is fetched is looked at, what was converted is looked at again: a guest's data may begin with
// another image's header, and then the raw base would be taken for that one.
Task<void> Fetching::check_and_publish() {
  const std::string format = co_await format_of(part_, fetch_.request.declared_format);
  if (format == "raw" || !fetch_.config.force_raw) {
    co_await publish(part_);
    co_return;
  }
  co_await convert_part(format);
  const std::string converted = co_await format_of(converted_, "");
  if (converted != "raw") {
    co_await fail(ErrorKind::refused_by_policy,
                  fmt::format("'{}' is not safe to use: converted to raw, it looks like {}",
                              fetch_.bases.path_of(name_), converted));
  }
  co_await publish(converted_);
}

Task<void> Fetching::run() {
  co_await remove(converted_);
  Result<void> done = co_await fetch().result();
  const bool keep = !done && can_resume_;
  if (done) done = co_await check_and_publish().result();
  if (done) co_return;
  // The first error counts.
  for (const std::string& left : {part_, converted_, resume_}) {
    if (!keep) static_cast<void>(fetch_.bases.remove_file(left));
  }
  co_await fail(std::move(done.error()));
}

}  // namespace

Task<std::string> safe_format(int fd, std::string path, std::string declared, const Config& config,
                              const CancelToken* cancel) {
  InspectOptions options{.declared = std::move(declared),
                         .virtual_size_max = config.limits.disk_max,
                         .cancel = cancel};
  const Inspection inspection = co_await inspect_descriptor(fd, path, std::move(options));
  const auto unsafe = std::ranges::find(inspection.findings, true, &Finding::unsafe);
  if (unsafe != inspection.findings.end()) {
    co_return fail(ErrorKind::refused_by_policy,
                   fmt::format("'{}' is not safe to use: {}", path, unsafe->message));
  }
  constexpr std::array<std::string_view, 4> kRaw = {"raw", "gpt", "mbr", "iso"};
  if (std::ranges::find(kRaw, inspection.format) != kRaw.end()) co_return "raw";
  if (inspection.format == "qcow2") co_return "qcow2";
  co_return fail(
      ErrorKind::unknown_format,
      fmt::format("'{}' has format '{}': disks can't be made from that", path, inspection.format));
}

Task<void> fetch_base(BaseFetch fetch) {
  Fetching fetching(fetch);
  co_await fetching.run();
}

}  // namespace platter::provision
