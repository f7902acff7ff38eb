#include "crypto/lvm_session.h"

#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#include <clocale>
#include <memory>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <lvm2cmd.h>

#include "crypto/dm_log.h"
#include "crypto/dm_thread.h"
#include "crypto/locked_memory.h"
#include "crypto/lvm_error.h"

namespace platter {
namespace {

// What this process must not do is set for each command; everything else is the machine's choice.
// - Checking a thin pool, polling, monitoring would start programs.
// - The filter names mappings that LVM must neither lock nor unlock: secrets are in such, and what
//   LVM leaves alone by itself (its default list).
// - A report has the form that is parsed here.
constexpr std::string_view kConfig =
    "global/thin_check_executable=\"\" global/thin_repair_executable=\"\" "
    "global/thin_dump_executable=\"\" global/cache_check_executable=\"\" "
    "global/cache_repair_executable=\"\" global/cache_dump_executable=\"\" "
    "global/use_lvmpolld=0 activation/monitoring=0 activation/use_mlockall=0 "
    "activation/mlock_filter=[\"memfd:\",\"secretmem\",\"locale/locale-archive\",\"/LC_\","
    "\"gconv/gconv-modules.cache\",\"/libreadline.so.\",\"/libncurses.so.\",\"/libtinfo.so.\","
    "\"/libdl-\",\"/etc/selinux\",\"/libasan.so.\"] "
    "log/verbose=0 log/silent=0 log/prefix=\"\" log/command_names=0 log/report_command_log=0 "
    "report/headings=1 report/mark_hidden_devices=0 report/prefixes=0";

// Where no udev runs (as in a container) LVM is to make the nodes itself, and to look for devices in
// /dev: it does neither unless it is told.
constexpr std::string_view kConfigWithoutUdev =
    " activation/udev_sync=0 activation/udev_rules=0 devices/obtain_device_list_from_udev=0 "
    "devices/external_device_info_source=\"none\"";

bool udev_runs() { return ::access("/run/udev/control", F_OK) == 0; }

// The library is loaded when the first volume is asked for: it and those that it needs would cost
// every other command some milliseconds, and raw images work without it.
struct Library {
  decltype(&::lvm2_log_fn) log_fn = nullptr;
  decltype(&::lvm2_init_threaded) init = nullptr;
  decltype(&::lvm2_run) run = nullptr;
  decltype(&::lvm2_exit) exit = nullptr;
};

constexpr const char* kLibraryName = "liblvm2cmd.so.2.03";

Result<Library> load_library() {
  void* const handle = ::dlopen(kLibraryName, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return fail(ErrorKind::unsupported, fmt::format("LVM volumes need {}, which is not there: {}",
                                                    kLibraryName, ::dlerror()));
  }
  Library library;
  const auto find = [handle](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(handle, name));
    return function != nullptr;
  };
  if (find(library.log_fn, "lvm2_log_fn") && find(library.init, "lvm2_init_threaded") &&
      find(library.run, "lvm2_run") && find(library.exit, "lvm2_exit")) {
    return library;
  }
  return fail(ErrorKind::unsupported, fmt::format("{} is not what it is taken for", kLibraryName));
}

// LVM calls setlocale(LC_ALL, "") for the whole process. No other thread can be kept from seeing
// that for a moment.
class LocaleKeeper {
 public:
  LocaleKeeper() : before_(std::setlocale(LC_ALL, nullptr)) {}
  ~LocaleKeeper() {
    if (before_ != std::setlocale(LC_ALL, nullptr)) std::setlocale(LC_ALL, before_.c_str());
  }
  LocaleKeeper(const LocaleKeeper&) = delete;
  LocaleKeeper& operator=(const LocaleKeeper&) = delete;

 private:
  std::string before_;
};

class MemoryLockKeeper {
 public:
  MemoryLockKeeper() : before_(locked_ranges()) {}
  ~MemoryLockKeeper() {
    if (!before_.empty()) lock_again(before_);
  }
  MemoryLockKeeper(const MemoryLockKeeper&) = delete;
  MemoryLockKeeper& operator=(const MemoryLockKeeper&) = delete;

 private:
  std::vector<LockedRange> before_;
};

// Where LVM's lines go: its callback takes no pointer of ours.
struct Collected {
  LvmReply reply;
  std::string complaints;
};
Collected* g_collected = nullptr;

extern "C" void collect_lvm_line(int level, const char* /*file*/, int /*line*/, int /*error*/,
                                 const char* message) {
  constexpr std::string_view kWarning = "WARNING: ";
  if (g_collected == nullptr || level > LVM2_LOG_PRINT) return;
  const std::string_view line = message;
  if (level <= LVM2_LOG_ERROR) {
    g_collected->complaints.append(line).append("\n");
  } else if (line.starts_with(kWarning)) {
    g_collected->reply.warnings.emplace_back(line.substr(kWarning.size()));
  } else {
    g_collected->reply.report.append(line).append("\n");
  }
}

/// One handle for the life of the process; each command reads the disks anew.
class Session {
 public:
  explicit Session(const Library& library) : library_(library) {
    // From now on this thread has a umask and a working folder of its own.
    ::unshare(CLONE_FS);
    const LocaleKeeper locale;
    library_.log_fn(collect_lvm_line);
    handle_ = library_.init();
  }
  ~Session() {
    if (handle_ != nullptr) library_.exit(handle_);
    library_.log_fn(nullptr);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  bool usable() const noexcept { return handle_ != nullptr; }

  Result<LvmReply> run(const std::string& command) {
    const LocaleKeeper locale;
    const MemoryLockKeeper memory;
    const DmLog dm_log;
    Collected collected;
    g_collected = &collected;
    const int code = library_.run(handle_, command.c_str());
    g_collected = nullptr;
    if (code == LVM2_COMMAND_SUCCEEDED) return std::move(collected.reply);
    const std::string text = lvm_error_text(collected.complaints + dm_log.errors());
    return fail(lvm_error_kind(text, code), text);
  }

 private:
  Library library_;
  void* handle_ = nullptr;
};

// On the thread of crypto/dm_thread.h.
Result<LvmReply> run_here(const std::string& command) {
  static std::unique_ptr<Session> session;
  if (!session) {
    Result<Library> library = load_library();
    if (!library) return fail(std::move(library.error()));
    auto made = std::make_unique<Session>(*library);
    if (!made->usable()) {
      return fail(::geteuid() == 0 ? ErrorKind::io : ErrorKind::permission,
                  "LVM could not be initialised");
    }
    session = std::move(made);
  }
  return session->run(command);
}

}  // namespace

Task<LvmReply> run_lvm(std::vector<std::string> words) {
  PLATTER_CHECK(!words.empty());
  std::string command = words.front();
  command += fmt::format(" --config '{}{}'", kConfig, udev_runs() ? "" : kConfigWithoutUdev);
  for (auto word = words.begin() + 1; word != words.end(); ++word) {
    PLATTER_CHECK(!word->empty() && word->find_first_of("'\"# \t\n\r\v\f\\") == std::string::npos);
    command += " " + *word;
  }
  auto work = [&command] { return run_here(command); };
  co_return co_await on_dm_thread(work);
}

}  // namespace platter
