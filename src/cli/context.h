// What every verb has at hand: its name in messages, the ring, signals, output.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "io/cancel.h"
#include "io/ring.h"
#include "io/task.h"
#include "src/cli/image_access.h"
#include "src/cli/json_progress.h"

namespace platter::cli {

/// Exit codes are qemu-img's; 130 and 143 after SIGINT and SIGTERM.
inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;

class Context {
 public:
  explicit Context(std::string program) : program_(std::move(program)) {}

  const std::string& program() const noexcept { return program_; }
  /// Whether the tool stands in qemu-img's place: what it prints is then what programs that were
  /// written for qemu-img know, and nothing more.
  bool as_qemu() const noexcept { return program_ == "qemu-img"; }

  /// How the command line's images are to be opened; see open_given().
  const ImageAccess& images() const noexcept { return images_; }
  void set_images(ImageAccess images) { images_ = std::move(images); }

  /// Where progress goes as JSON; null: nowhere.
  JsonProgress* json_progress() const noexcept { return json_progress_.get(); }
  void set_json_progress(JsonProgress progress) {
    json_progress_ = std::make_unique<JsonProgress>(std::move(progress));
  }

  /// "platter: message" on standard error, after what went to standard output.
  void error(std::string_view message) const;
  void error(const Error& error) const;
  /// The same, then "Try 'platter --help' ...".
  void usage_error(std::string_view message) const;
  void warning(std::string_view message) const;
  void print(std::string_view text) const;

  /// Runs the task on this thread's ring, with SIGINT and SIGTERM turned into cancel() and SIGUSR1
  /// into the handler below.
  template <class T>
  Result<T> run(Task<T> task) {
    return ring().run(std::move(task));
  }
  Ring& ring();
  /// What the ring is to be made with. REQUIRES: nothing has run yet.
  void set_engine(RingEngineKind engine) noexcept { engine_ = engine; }
  CancelToken& cancel() noexcept { return cancel_; }
  void on_status_signal(std::function<void()> handler) { on_status_ = std::move(handler); }

  /// Called with SIGINT and SIGTERM as well, for what is waited for and no cancel() ends.
  void on_stop_signal(std::function<void()> handler) { on_stop_ = std::move(handler); }

  /// The exit code for an error: that of the signal if one asked to stop (and says nothing more),
  /// else `code`, after the message was printed.
  int fail_with(const Error& error, int code = kExitError) const;

 private:
  void handle_signals(unsigned bits);
  void say(std::string_view message) const;

  std::string program_;
  ImageAccess images_;
  std::unique_ptr<JsonProgress> json_progress_;
  RingEngineKind engine_ = RingEngineKind::automatic;
  std::unique_ptr<Ring> ring_;
  CancelToken cancel_;
  int stop_signal_ = 0;
  std::function<void()> on_status_;
  std::function<void()> on_stop_;
};

}  // namespace platter::cli
