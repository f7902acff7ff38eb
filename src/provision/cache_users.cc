#include "src/provision/cache_users.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>

#include "src/provision/image_files.h"

namespace platter::provision {
namespace {

constexpr std::string_view kQcow2Magic = "QFI\xfb";
constexpr std::string_view kLocksFolder = "locks";
// An instance's folder is the first; deeper ones than this can't be looked at.
constexpr unsigned kDepthMax = 8;

class UserScan {
 public:
  UserScan(const Places& places, const std::vector<std::string>& bases, const CancelToken* cancel)
      : places_(places), bases_(bases), cancel_(cancel) {}

  /// What is in the folder, at whatever depth, but for `but`.
  Task<void> scan(const Folder& folder, std::vector<std::string_view> but, unsigned depth);
  CacheUsers take() { return std::move(users_); }

 private:
  Task<void> scan_folder(const Folder& parent, std::string name, unsigned depth);
  Task<void> scan_entry(const Folder& folder, std::string name, unsigned depth);
  Task<void> scan_file(const Folder& folder, std::string name);
  void add_unreadable(const std::string& path, const Error& error);
  Task<std::string> backing_file_of(const Folder& folder, std::string name) const;
  void add_user(std::string_view backing_file, const std::string& disk);

  const Places& places_;
  const std::vector<std::string>& bases_;
  const CancelToken* cancel_;
  CacheUsers users_;
};

void UserScan::add_unreadable(const std::string& path, const Error& error) {
  if (users_.unreadable.size() >= CacheUsers::kPathsMax) return;
  users_.unreadable.push_back("'" + path + "': " + error.message());
}

bool names_base(std::string_view backing_file, std::string_view base) {
  if (backing_file == base) return true;
  if (backing_file.starts_with("json:")) return backing_file.find(base) != backing_file.npos;
  return backing_file.ends_with(base) && backing_file[backing_file.size() - base.size() - 1] == '/';
}

void UserScan::add_user(std::string_view backing_file, const std::string& disk) {
  for (const std::string& base : bases_) {
    if (!names_base(backing_file, base)) continue;
    CacheUsers::Users& users = users_.by_base[base];
    ++users.count;
    if (users.paths.size() < CacheUsers::kPathsMax) users.paths.push_back(disk);
  }
}

// Empty: none, or no qcow2 image.
Task<std::string> UserScan::backing_file_of(const Folder& folder, std::string name) const {
  std::array<char, kQcow2Magic.size()> magic{};
  {
    const UniqueFd fd = co_await folder.open_file(name, O_RDONLY);
    const ssize_t count = ::pread(fd.get(), magic.data(), magic.size(), 0);
    if (count < 0) co_return fail_errno(errno, "read", folder.path_of(name));
  }
  if (std::string_view(magic.data(), magic.size()) != kQcow2Magic) co_return std::string();
  const ImageInfo info =
      co_await look_at_image(folder.path_of(name), "qcow2", places_.root.lookup());
  co_return info.backing_file.value_or("");
}

Task<void> UserScan::scan_file(const Folder& folder, std::string name) {
  ++users_.disk_count;
  const std::string backing = co_await backing_file_of(folder, name);
  add_user(backing, folder.path_of(name));
}

Task<void> UserScan::scan_folder(const Folder& parent, std::string name, unsigned depth) {
  if (depth > kDepthMax) {
    co_await fail(ErrorKind::too_large, "folders lie in each other too deeply");
  }
  const Folder folder = co_await parent.folder(name);
  co_await scan(folder, {}, depth);
}

Task<void> UserScan::scan_entry(const Folder& folder, std::string name, unsigned depth) {
  const auto status = co_await folder.status(name);
  if (!status) co_return;  // gone meanwhile
  if (S_ISLNK(status->st_mode))
    co_await fail(ErrorKind::refused_by_policy, "it is a symbolic link");
  if (S_ISREG(status->st_mode)) co_await scan_file(folder, std::move(name));
  if (S_ISDIR(status->st_mode)) co_await scan_folder(folder, std::move(name), depth + 1);
}

Task<void> UserScan::scan(const Folder& folder, std::vector<std::string_view> but, unsigned depth) {
  for (const std::string& name : co_await folder.names()) {
    co_await look_for_cancel(cancel_);
    if (std::ranges::find(but, name) != but.end()) continue;
    const Result<void> done = co_await scan_entry(folder, name, depth).result();
    if (done || done.error().kind() == ErrorKind::not_found) continue;  // gone meanwhile
    if (done.error().kind() == ErrorKind::cancelled) co_await fail(done.error().clone());
    add_unreadable(folder.path_of(name), done.error());
  }
}

}  // namespace

Task<CacheUsers> scan_cache_users(const Places& places, std::string base_folder,
                                  std::vector<std::string> bases, const CancelToken* cancel) {
  UserScan scan(places, bases, cancel);
  co_await scan.scan(places.root, {base_folder, kLocksFolder}, 0);
  co_return scan.take();
}

}  // namespace platter::provision
