#include "src/provision/disk_info.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "formats/json_reader.h"
#include "io/ring.h"

namespace platter::provision {
namespace {

using Formats = nlohmann::ordered_json;

constexpr std::size_t kSizeMax = std::size_t{64} << 10;
constexpr mode_t kMode = 0644;  // whatever the umask: services of other users read it
// Written under the instance's lock, so that one name is enough, and the next one removes what a killed
// one left.
constexpr const char* kPartial = "disk.info.part";

Result<std::string> read_text(int fd, const std::string& path) {
  std::string text;
  std::array<char, 4096> piece{};
  for (;;) {
    const ssize_t count = ::pread(fd, piece.data(), piece.size(), static_cast<off_t>(text.size()));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, "read", path);
    if (count == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(count));
    if (text.size() > kSizeMax) {
      return fail(ErrorKind::corrupt_image,
                  fmt::format("'{}' is larger than {} bytes", path, kSizeMax));
    }
  }
}

Result<Formats> parse(const std::string& text, const std::string& path) {
  if (text.empty()) return Formats::object();  // made, and not written yet
  Formats formats = Formats::parse(text, nullptr, /*allow_exceptions=*/false);
  bool good = formats.is_object();
  if (good) {
    for (const auto& entry : formats) good = good && entry.is_string();
  }
  if (good) return formats;
  return fail(ErrorKind::corrupt_image,
              fmt::format("'{}' is no JSON object of the formats of disks", path));
}

Result<Formats> read_formats(const Folder& instance) {
  const std::string path = instance.path_of(DiskInfo::kName);
  const Result<UniqueFd> fd = instance.open_file(DiskInfo::kName, O_RDONLY);
  if (!fd && fd.error().kind() == ErrorKind::not_found) return Formats::object();
  if (!fd) return fail(fd.error().clone());
  const Result<std::string> text = read_text(fd->get(), path);
  if (!text) return fail(text.error().clone());
  return parse(*text, path);
}

// As Nova writes it, by Python's json module, so that the file does not depend on who wrote it.
std::string text_of(const Formats& formats) {
  std::string text = "{";
  for (const auto& [path, format] : formats.items()) {
    if (text.size() > 1) text += ", ";
    // All of it is UTF-8: dump() would throw otherwise.
    text += Formats(path).dump(-1, ' ', /*ensure_ascii=*/true) + ": " +
            format.dump(-1, ' ', /*ensure_ascii=*/true);
  }
  return text + "}\n";
}

// JSON has no other texts.
Result<void> check_utf8(const std::string& text) {
  if (Formats::parse(json_quoted(text), nullptr, /*allow_exceptions=*/false) == text) return {};
  return fail(ErrorKind::invalid_argument, fmt::format("{} is not UTF-8", json_quoted(text)));
}

Result<UniqueFd> write_partial(const Folder& instance, const std::string& text) {
  const std::string path = instance.path_of(kPartial);
  // What is there may be another file's second name: it goes, and is not written to.
  if (Result<bool> gone = instance.remove_file(kPartial); !gone)
    return fail(std::move(gone.error()));
  Result<UniqueFd> fd = instance.open_file(kPartial, O_WRONLY | O_CREAT | O_EXCL, kMode);
  if (!fd) return fd;
  if (::fchmod(fd->get(), kMode) != 0) return fail_errno(errno, "set the mode of", path);
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(fd->get(), text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return fail_errno(count < 0 ? errno : EIO, "write", path);
    done += static_cast<std::size_t>(count);
  }
  if (Result<void> given = instance.hand_over(fd->get(), kPartial); !given) {
    return fail(std::move(given.error()));
  }
  return fd;
}

Task<void> replace(const Folder& instance, std::string text) {
  const UniqueFd fd = co_await write_partial(instance, text);
  const int flushed = co_await Ring::current().fsync(RingFile{.fd = fd.get()});
  if (flushed < 0) co_await fail_errno(-flushed, "flush", instance.path_of(kPartial));
  co_await instance.rename(kPartial, DiskInfo::kName);
  co_await instance.sync();
}

Task<void> write_formats(const Folder& instance, const Formats& formats) {
  Result<void> written = co_await replace(instance, text_of(formats)).result();
  if (written) co_return;
  static_cast<void>(instance.remove_file(kPartial));  // the first error counts
  co_await fail(std::move(written.error()));
}

}  // namespace

Result<std::optional<std::string>> DiskInfo::format_of(const std::string& disk_path) const {
  const Result<Formats> formats = read_formats(instance_);
  if (!formats) return fail(formats.error().clone());
  const auto found = formats->find(disk_path);
  if (found == formats->end()) return std::nullopt;
  return found->get<std::string>();
}

Task<void> DiskInfo::record(std::string disk_path, std::string format) const {
  co_await check_utf8(disk_path);
  co_await check_utf8(format);
  Formats formats = co_await read_formats(instance_);
  const auto found = formats.find(disk_path);
  if (found != formats.end() && *found == format) co_return;
  if (found != formats.end()) {
    co_await fail(
        ErrorKind::already_exists,
        fmt::format("'{}' says that '{}' is {}: it does not become {}", instance_.path_of(kName),
                    disk_path, found->get<std::string>(), format));
  }
  formats[std::move(disk_path)] = std::move(format);
  co_await write_formats(instance_, formats);
}

Task<void> DiskInfo::forget(std::string disk_path) const {
  Formats formats = co_await read_formats(instance_);
  if (formats.erase(disk_path) == 0) co_return;
  if (!formats.empty()) {
    co_await write_formats(instance_, formats);
    co_return;
  }
  co_await instance_.remove_file(kName);
  co_await instance_.sync();
}

}  // namespace platter::provision
