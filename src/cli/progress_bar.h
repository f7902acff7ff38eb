// Shows a Progress to a person or to a program that expects qemu-img's lines.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

#include "src/cli/context.h"
#include "src/ops/progress.h"

namespace platter::cli {

/// On a terminal: one line with a bar, bytes, rate and time left, renewed ten times a second.
/// Elsewhere, exactly what `qemu-img -p` prints: "    (12.34/100%)" and a carriage return, at steps
/// of `step` percent. SIGUSR1 prints one such line to standard error, with or without -p.
class ProgressBar {
 public:
  /// When 0 % is printed.
  enum class Beginning : std::uint8_t { at_once, by_begin };

  /// On `output`. Context::json_progress() is told as well.
  ProgressBar(Context& context, bool shown, double step, std::FILE* output = stdout,
              Beginning beginning = Beginning::at_once);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  Progress& progress() noexcept { return progress_; }
  /// Shows 0 %.
  void begin();
  /// All is done: shows 100 %.
  void complete();
  /// Ends the line. Once, after complete() or an error.
  void end();

 private:
  void changed(const Progress& progress);
  void draw(const Progress& progress, double part);
  void print_percent(double percent);

  Context& context_;
  bool shown_;
  std::FILE* output_;
  bool terminal_;
  double step_;
  double last_percent_ = 0;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_drawn_{};
  Progress progress_;
};

}  // namespace platter::cli
