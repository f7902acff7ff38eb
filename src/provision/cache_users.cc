#include "src/provision/cache_users.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

class UserScan {
 public:
  UserScan(const Places& places, const std::vector<std::string>& bases, const CancelToken* cancel)
      : places_(places), bases_(bases), cancel_(cancel) {}

  Task<void> scan_folder(std::string name);
  CacheUsers take() { return std::move(users_); }
  void add_unreadable(const std::string& path, const Error& error);

 private:
  Task<void> scan_file(const Folder& folder, std::string name);
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
  const std::string path = folder.path_of(name);
  const auto status = folder.status(name);
  if (!status) co_await fail(status.error().clone());
  if (!*status) co_return;  // gone meanwhile
  if (S_ISLNK((*status)->st_mode)) {
    add_unreadable(path, Error(ErrorKind::refused_by_policy, "it is a symbolic link"));
    co_return;
  }
  if (!S_ISREG((*status)->st_mode)) co_return;
  ++users_.disk_count;
  const Result<std::string> backing = co_await backing_file_of(folder, name).result();
  if (backing) {
    add_user(*backing, path);
  } else if (backing.error().kind() != ErrorKind::not_found) {
    add_unreadable(path, backing.error());
  }
}

Task<void> UserScan::scan_folder(std::string name) {
  const Folder folder = co_await places_.root.folder(name);
  for (std::string& file : co_await folder.names()) {
    co_await look_for_cancel(cancel_);
    co_await scan_file(folder, std::move(file));
  }
}

}  // namespace

Task<CacheUsers> scan_cache_users(const Places& places, std::string base_folder,
                                  std::vector<std::string> bases, const CancelToken* cancel) {
  UserScan scan(places, bases, cancel);
  for (const std::string& name : co_await places.root.names()) {
    co_await look_for_cancel(cancel);
    if (name == base_folder || name == kLocksFolder) continue;
    const auto status = co_await places.root.status(name);
    if (!status || S_ISREG(status->st_mode)) continue;
    const Result<void> done = co_await scan.scan_folder(name).result();
    if (done || done.error().kind() == ErrorKind::not_found) continue;
    if (done.error().kind() == ErrorKind::cancelled) co_return fail(done.error().clone());
    scan.add_unreadable(places.root.path_of(name), done.error());
  }
  co_return scan.take();
}

}  // namespace platter::provision
