#include "src/cli/progress_bar.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>

#include <fmt/format.h>

#include "src/cli/size.h"

namespace platter::cli {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr int kBarWidth = 30;

std::string clock_time(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  if (whole >= 3600) {
    return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  }
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace

ProgressBar::ProgressBar(Context& context, bool shown, double step, std::FILE* output,
                         Beginning beginning)
    : context_(context),
      shown_(shown),
      output_(output),
      terminal_(::isatty(::fileno(output)) == 1),
      step_(step),
      start_(std::chrono::steady_clock::now()),
      progress_([this](const Progress& progress) { changed(progress); }) {
  if (!shown_ && context.json_progress() == nullptr) progress_ = Progress();
  context_.on_status_signal([this] {
    fmt::print(stderr, "    ({:3.2f}/100%)\n", progress_.percent());
    std::fflush(stderr);
  });
  if (beginning == Beginning::at_once) begin();
}

ProgressBar::~ProgressBar() { context_.on_status_signal(nullptr); }

void ProgressBar::changed(const Progress& progress) {
  if (JsonProgress* json = context_.json_progress()) json->update(progress);
  if (!shown_) return;
  if (terminal_) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_drawn_ < kRedraw) return;
    last_drawn_ = now;
    draw(progress, progress.percent() / 100);
    return;
  }
  const double percent = progress.percent();
  if (percent - last_percent_ >= step_ && percent < 100) print_percent(percent);
}

void ProgressBar::print_percent(double percent) {
  last_percent_ = percent;
  fmt::print(output_, "    ({:3.2f}/100%)\r", percent);
  std::fflush(output_);
}

void ProgressBar::draw(const Progress& progress, double part) {
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
  const double rate =
      elapsed.count() > 0 ? static_cast<double>(progress.done()) / elapsed.count() : 0;
  const double left = rate > 0 ? static_cast<double>(progress.total() - progress.done()) / rate : 0;
  const auto filled = static_cast<std::size_t>(part * kBarWidth);
  std::string bar(filled, '#');
  bar.resize(kBarWidth, '.');
  // Erases what a longer line left behind.
  fmt::print(output_, "\r\x1b[K[{}] {:5.1f}%  {} of {}  {}/s  {} left", bar, 100 * part,
             human_size(progress.done()), human_size(progress.total()),
             human_size(static_cast<std::uint64_t>(rate)), clock_time(left));
  std::fflush(output_);
}

void ProgressBar::begin() {
  if (shown_ && !terminal_) print_percent(0);
}

void ProgressBar::complete() {
  if (!shown_) return;
  if (terminal_) {
    draw(progress_, 1);  // also where there was nothing to do
  } else {
    print_percent(100);
  }
}

void ProgressBar::end() {
  if (!shown_) return;
  fmt::print(output_, "\n");
  std::fflush(output_);
}

}  // namespace platter::cli
