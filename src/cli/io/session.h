// One run of `platter io`: commands, one after the other, and the requests that they leave in flight.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/error.h"
#include "io/task.h"
#include "io/task_group.h"
#include "src/cli/context.h"
#include "src/cli/io/command.h"
#include "src/cli/io/disk.h"
#include "src/cli/io/stop_event.h"

namespace platter::cli {

/// Belongs to its context's ring.
class Session {
 public:
  /// Requests that commands leave in flight; one more waits for one of them.
  static constexpr std::size_t kInFlightMax = 1024;

  Session(Context& context, const StopEvent& stop, std::string prompt, bool misalign)
      : context_(context), stop_(stop), prompt_(std::move(prompt)), misalign_(misalign) {}

  /// Opens the image, if one is given; runs the commands, or what standard input says where there
  /// are none; waits for what is in flight; closes. The outcome is `failed` if a command's was.
  /// Errors: cancelled; of opening, after "can't open device".
  Task<Outcome> run(std::vector<std::string> commands, std::optional<DiskOptions> options);

  // For commands.

  /// Null: no image is open.
  Disk* disk() noexcept { return disk_.get(); }
  /// REQUIRES: no image is open. Errors: after "can't open device NAME".
  Task<void> open(DiskOptions options);
  /// Waits for what is in flight first. REQUIRES: an image is open. Errors: of closing.
  Task<void> close();

  /// Closes the image and opens it with other options; if that fails, with those it had.
  /// REQUIRES: an image is open. Errors: those of opening and closing; unsupported for an overlay.
  Task<void> reopen(DiskOptions options);

  /// Leaves a request in flight; it says itself how it went.
  Task<void> spawn(Task<void> request) { return requests_->spawn(std::move(request)); }
  /// Waits for all of them.
  Task<void> drain() { return requests_->join(); }
  /// Lets pass what was given in milliseconds. Errors: cancelled.
  Task<void> sleep(std::chrono::milliseconds time) { return stop_.wait(-1, time); }
  void quit() noexcept { quit_ = true; }
  const CancelToken& cancel() const { return context_.cancel(); }
  bool images_are_options() const { return context_.images().by_options; }

  /// Memory for a request of `length` bytes; with -m it begins where direct I/O does not want it.
  struct Memory {
    Buffer buffer;
    std::span<std::byte> bytes;
  };
  Result<Memory> memory(std::uint64_t length) const;

  void print(std::string_view text) const { context_.print(text); }
  /// A line on standard output, where qemu-io tells of most mistakes. Returns `failed`.
  Outcome complain(std::string_view line) const;
  Outcome complain(const Error& error) const { return complain(error.message()); }
  /// A line on standard error, with the program's name. Returns `failed`.
  Outcome report_error(std::string_view message) const;
  /// A line on standard error, without it. Returns `failed`.
  Outcome warn(std::string_view line) const;
  /// "WHAT failed: REASON" in qemu-io's words, and the whole story on standard error if it says more.
  Outcome request_failed(std::string_view what, const Error& error) const;
  Outcome wrong_use(const Command& command) const;

 private:
  Task<void> run_group(TaskGroup& requests, std::vector<std::string> commands,
                       std::optional<DiskOptions> options, Outcome& outcome);
  Task<void> run_all(std::vector<std::string> commands, Outcome& outcome);
  Task<void> run_input(Outcome& outcome);
  Task<Outcome> run_line(std::string line);
  Task<Outcome> run_command(const Command& command, std::vector<std::string> words);
  Task<void> finish();

  Context& context_;
  const StopEvent& stop_;
  std::string prompt_;
  bool misalign_;
  bool quit_ = false;
  std::unique_ptr<Disk> disk_;
  TaskGroup* requests_ = nullptr;
};

}  // namespace platter::cli
