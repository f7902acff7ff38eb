#include "src/cli/context.h"

#include <signal.h>

#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "io/notice.h"

namespace platter::cli {
namespace {

// The ring that signal handlers talk to: one command, one ring.
Ring* g_signal_ring = nullptr;

unsigned bit_of(int signal) { return 1U << static_cast<unsigned>(signal); }

extern "C" void forward_signal(int signal) {
  if (g_signal_ring != nullptr) g_signal_ring->interrupt(bit_of(signal));
}

void catch_signal(int signal, int flags) {
  struct sigaction action{};
  action.sa_handler = forward_signal;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

void Context::print(std::string_view text) const {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void Context::error(std::string_view message) const {
  if (json_progress_) json_progress_->failed(message);
  say(message);
}

void Context::say(std::string_view message) const {
  std::fflush(stdout);
  fmt::print(stderr, "{}: {}\n", program_, message);
}

void Context::error(const Error& failure) const { error(failure.message()); }

void Context::usage_error(std::string_view message) const {
  error(message);
  fmt::print(stderr, "Try '{} --help' for more information\n", program_);
}

void Context::warning(std::string_view message) const { say(fmt::format("warning: {}", message)); }

Ring& Context::ring() {
  if (ring_) return *ring_;
  Result<std::unique_ptr<Ring>> made = Ring::create({.engine = engine_});
  if (!made) {
    error(made.error());
    std::exit(kExitError);
  }
  ring_ = *std::move(made);
  g_signal_ring = ring_.get();
  ring_->set_interrupt_handler([this](unsigned bits) { handle_signals(bits); });
  // Whoever asks twice does not want to wait for the clean-up: the second signal kills.
  catch_signal(SIGINT, static_cast<int>(SA_RESETHAND));
  catch_signal(SIGTERM, static_cast<int>(SA_RESETHAND));
  catch_signal(SIGUSR1, 0);
  // A limit on file sizes is an error like any other (EFBIG), not a death.
  ::signal(SIGXFSZ, SIG_IGN);
  set_notice_handler([this](std::string_view text) { say(fmt::format("note: {}", text)); });
  return *ring_;
}

void Context::handle_signals(unsigned bits) {
  for (const int signal : {SIGINT, SIGTERM}) {
    if ((bits & bit_of(signal)) == 0) continue;
    if (stop_signal_ == 0) stop_signal_ = signal;
    cancel_.request();
    if (on_stop_) on_stop_();
  }
  if ((bits & bit_of(SIGUSR1)) != 0 && on_status_) on_status_();
}

int Context::fail_with(const Error& failure, int code) const {
  if (failure.kind() == ErrorKind::cancelled && stop_signal_ != 0) {
    say(stop_signal_ == SIGINT ? "interrupted" : "terminated");
    if (json_progress_) json_progress_->cancelled();
    return 128 + stop_signal_;
  }
  error(failure);
  return code;
}

}  // namespace platter::cli
