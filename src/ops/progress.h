// How far an operation is.
#pragma once

#include <cstdint>
#include <functional>

namespace platter {

/// Counts work in bytes and tells whoever shows it. Belongs to the operation's thread.
class Progress {
 public:
  Progress() = default;
  explicit Progress(std::function<void(const Progress&)> on_change)
      : on_change_(std::move(on_change)) {}

  /// True if someone looks: then a total is worth finding out.
  bool watched() const noexcept { return static_cast<bool>(on_change_); }

  void set_total(std::uint64_t bytes) {
    total_ = bytes;
    tell();
  }
  void add(std::uint64_t bytes) {
    done_ += bytes;
    tell();
  }

  std::uint64_t done() const noexcept { return done_; }
  std::uint64_t total() const noexcept { return total_; }
  /// 0 to 100; 0 while the total is not known.
  double percent() const noexcept {
    if (total_ == 0) return 0;
    return 100.0 * static_cast<double>(done_) / static_cast<double>(total_);
  }

 private:
  void tell() {
    if (on_change_) on_change_(*this);
  }

  std::uint64_t done_ = 0;
  std::uint64_t total_ = 0;
  std::function<void(const Progress&)> on_change_;
};

}  // namespace platter
