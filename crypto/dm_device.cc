#include "crypto/dm_device.h"

#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <libdevmapper.h>

#include "crypto/device_name.h"
#include "crypto/dm_log.h"
#include "crypto/dm_thread.h"

namespace platter {
namespace {

struct TaskDeleter {
  void operator()(dm_task* task) const { dm_task_destroy(task); }
};

enum class Udev : std::uint8_t { no_wait, wait };

// One request to device-mapper. On the thread of crypto/dm_thread.h.
class Request {
 public:
  // `name` may be empty, for requests about no device.
  Request(int type, std::string_view what, std::string name)
      : what_(what), name_(std::move(name)), task_(dm_task_create(type)) {
    usable_ = task_ != nullptr && (name_.empty() || dm_task_set_name(get(), name_.c_str()) != 0);
  }

  dm_task* get() const noexcept { return task_.get(); }

  bool add(const std::vector<DmTarget>& table) {
    for (const DmTarget& target : table) {
      usable_ = usable_ && dm_task_add_target(get(), target.start_sector, target.sector_count,
                                              target.type.c_str(), target.parameters.c_str()) != 0;
      if (usable_ && target.type == "crypt") usable_ = dm_task_secure_data(get()) != 0;
    }
    return usable_;
  }

  // With Udev::wait: until udev has made the nodes, where it runs; else libdevmapper makes them.
  Result<void> run(Udev udev) {
    if (!usable_) return error(errno);
    std::uint32_t cookie = 0;
    if (udev == Udev::wait && dm_task_set_cookie(get(), &cookie, 0) == 0) return error(errno);
    const bool done = dm_task_run(get()) != 0;
    const int os_error = done ? 0 : dm_task_get_errno(get());
    if (udev == Udev::wait) dm_udev_wait(cookie);
    return done ? Result<void>() : error(os_error);
  }

 private:
  std::unexpected<Error> error(int os_error) const {
    ErrorKind kind = os_error == ENODEV ? ErrorKind::not_found : kind_of_errno(os_error);
    if (os_error == 0 || task_ == nullptr) {
      kind = ::geteuid() == 0 ? ErrorKind::unsupported : ErrorKind::permission;
    }
    std::string reason = log_.errors();
    if (reason.empty()) reason = os_error != 0 ? errno_text(os_error) : "no device-mapper";
    if (name_.empty()) return fail(kind, fmt::format("Could not {}: {}", what_, reason));
    return fail(kind, fmt::format("Could not {} '{}': {}", what_, name_, reason));
  }

  DmLog log_;
  std::string_view what_;
  std::string name_;
  std::unique_ptr<dm_task, TaskDeleter> task_;
  bool usable_ = false;
};

// A kernel that is asked for a target's version loads the target's module.
Result<void> require_target(const std::string& type) {
  Request request(DM_DEVICE_GET_TARGET_VERSION, "find device-mapper's target", type);
  Result<void> found = request.run(Udev::no_wait);
  // Kernels before 4.20 don't know the request, and load modules when a table is loaded.
  if (found || found.error().kind() == ErrorKind::permission) return found;
  return fail(ErrorKind::unsupported,
              fmt::format("This kernel has no device-mapper target '{}'", type));
}

Result<void> resume(const std::string& name) {
  return Request(DM_DEVICE_RESUME, "resume mapping", name).run(Udev::wait);
}

Result<void> load(const NewDmDevice& device) {
  Request request(DM_DEVICE_RELOAD, "load a table for mapping", device.name);
  if (request.add(device.table) && device.read_only) dm_task_set_ro(request.get());
  return request.run(Udev::no_wait);
}

Result<void> replace_table(const std::string& name, const std::vector<DmTarget>& table) {
  if (auto done = load({.name = name, .table = table}); !done) return done;
  {
    Request suspend(DM_DEVICE_SUSPEND, "suspend mapping", name);
    if (auto done = suspend.run(Udev::no_wait); !done) return done;
  }
  return resume(name);  // with the new table
}

Result<void> remove(const std::string& name, DmRemoval removal) {
  Request request(DM_DEVICE_REMOVE, "remove mapping", name);
  if (request.get() != nullptr && removal == DmRemoval::retried) {
    dm_task_retry_remove(request.get());
  }
  if (request.get() != nullptr && removal == DmRemoval::deferred) {
    dm_task_deferred_remove(request.get());
  }
  return request.run(Udev::wait);
}

// Step by step: done by libdevmapper in one request, the reason of a failure would be lost.
Result<void> create(const NewDmDevice& device) {
  {
    Request request(DM_DEVICE_CREATE, "create mapping", device.name);
    if (!device.uuid.empty() && request.get() != nullptr) {
      dm_task_set_uuid(request.get(), device.uuid.c_str());
    }
    Result<void> made = request.run(Udev::no_wait);
    if (!made && made.error().kind() == ErrorKind::in_use) {
      return fail(ErrorKind::already_exists,
                  fmt::format("Could not create mapping '{}': it exists", device.name));
    }
    if (!made) return made;
  }
  Result<void> done = load(device);
  if (done) done = resume(device.name);
  // What made it fail is told, not whether an empty device can be removed.
  if (!done) {
    const Result<void> undone = remove(device.name, DmRemoval::now);
    static_cast<void>(undone);
  }
  return done;
}

Result<std::optional<DmDeviceInfo>> info(const std::string& name) {
  Request request(DM_DEVICE_INFO, "look at mapping", name);
  if (auto done = request.run(Udev::no_wait); !done) return fail(std::move(done.error()));
  ::dm_info raw{};
  if (dm_task_get_info(request.get(), &raw) == 0 || raw.exists == 0) return std::nullopt;
  DmDeviceInfo found{.major = raw.major,
                     .minor = raw.minor,
                     .open_count = static_cast<std::uint32_t>(raw.open_count),
                     .suspended = raw.suspended != 0,
                     .read_only = raw.read_only != 0,
                     .removal_pending = raw.deferred_remove != 0};
  if (const char* uuid = dm_task_get_uuid(request.get()); uuid != nullptr) found.uuid = uuid;
  return found;
}

Result<std::vector<DmTarget>> status(const std::string& name) {
  Request request(DM_DEVICE_STATUS, "ask the targets of mapping", name);
  if (auto done = request.run(Udev::no_wait); !done) return fail(std::move(done.error()));
  ::dm_info raw{};
  if (dm_task_get_info(request.get(), &raw) == 0 || raw.exists == 0) {
    return fail(ErrorKind::not_found, fmt::format("There is no mapping '{}'", name));
  }
  std::vector<DmTarget> table;
  void* next = nullptr;
  do {
    DmTarget target;
    char* type = nullptr;
    char* parameters = nullptr;
    next = dm_get_next_target(request.get(), next, &target.start_sector, &target.sector_count,
                              &type, &parameters);
    if (type == nullptr) continue;  // a device without a table
    target.type = type;
    if (parameters != nullptr) target.parameters = parameters;
    table.push_back(std::move(target));
  } while (next != nullptr);
  return table;
}

Result<std::vector<std::string>> list() {
  Request request(DM_DEVICE_LIST, "list mappings", "");
  if (auto done = request.run(Udev::no_wait); !done) return fail(std::move(done.error()));
  std::vector<std::string> names;
  const dm_names* entry = dm_task_get_names(request.get());
  if (entry == nullptr || entry->dev == 0) return names;
  for (;;) {
    names.emplace_back(entry->name);
    if (entry->next == 0) return names;
    entry = reinterpret_cast<const dm_names*>(reinterpret_cast<const char*>(entry) + entry->next);
  }
}

}  // namespace

Task<void> dm_create(NewDmDevice device) {
  co_await check_mapping_name(device.name);
  for (const DmTarget& target : device.table) co_await dm_require_target(target.type);
  auto work = [&device] { return create(device); };
  co_await co_await on_dm_thread(work);
}

Task<void> dm_replace_table(std::string name, std::vector<DmTarget> table) {
  co_await check_mapping_name(name);
  for (const DmTarget& target : table) co_await dm_require_target(target.type);
  auto work = [&] { return replace_table(name, table); };
  co_await co_await on_dm_thread(work);
}

Task<void> dm_message(std::string name, std::uint64_t sector, std::string message) {
  co_await check_mapping_name(name);
  auto work = [&] {
    Request request(DM_DEVICE_TARGET_MSG, "send a message to mapping", name);
    if (request.get() != nullptr) {
      dm_task_set_sector(request.get(), sector);
      dm_task_set_message(request.get(), message.c_str());
    }
    return request.run(Udev::no_wait);
  };
  co_await co_await on_dm_thread(work);
}

Task<void> dm_remove(std::string name, DmRemoval removal) {
  co_await check_mapping_name(name);
  auto work = [&] { return remove(name, removal); };
  co_await co_await on_dm_thread(work);
}

Task<std::optional<DmDeviceInfo>> dm_info(std::string name) {
  co_await check_mapping_name(name);
  auto work = [&] { return info(name); };
  co_return co_await on_dm_thread(work);
}

Task<std::vector<DmTarget>> dm_status(std::string name) {
  co_await check_mapping_name(name);
  auto work = [&] { return status(name); };
  co_return co_await on_dm_thread(work);
}

Task<std::vector<std::string>> dm_list() {
  auto work = [] { return list(); };
  co_return co_await on_dm_thread(work);
}

Task<void> dm_require_target(std::string type) {
  co_await check_mapping_name(type);
  auto work = [&] { return require_target(type); };
  co_await co_await on_dm_thread(work);
}

}  // namespace platter
