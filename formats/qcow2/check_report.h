// What a check of an image found, and the words for it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace platter::qcow2 {

/// As qemu-img's ImageCheck. Counts of events, unless said otherwise.
struct CheckReport {
  std::uint64_t check_errors = 0;  ///< the check itself could not be done
  std::uint64_t corruptions = 0;   ///< left in the image
  std::uint64_t leaks = 0;         ///< left in the image; clusters
  std::uint64_t corruptions_fixed = 0;
  std::uint64_t leaks_fixed = 0;
  std::uint64_t image_end_offset = 0;  ///< bytes
  std::uint64_t total_clusters = 0;    ///< of the guest's disk
  std::uint64_t allocated_clusters = 0;
  std::uint64_t fragmented_clusters = 0;
  std::uint64_t compressed_clusters = 0;
  /// Messages that went over the limit.
  std::uint64_t messages_left_out = 0;
};

/// One line for each thing found or changed, in qemu-img's words, handed on as they come, up to a
/// limit: a hostile image has endless faults.
class CheckMessages {
 public:
  using Handler = std::function<void(std::string_view line)>;
  CheckMessages(Handler handler, std::uint64_t limit)
      : handler_(std::move(handler)), left_(handler_ ? limit : 0) {}

  /// True once more lines would be left out: then it is enough to count them.
  bool full() const noexcept { return muted_ || left_ == 0; }
  /// `line` has no newline at its end; a long message has some within.
  void add(std::string_view line) {
    if (muted_) return;
    if (full()) {
      ++left_out_;
      return;
    }
    --left_;
    handler_(line);
  }
  void leave_out(std::uint64_t count) noexcept {
    if (!muted_) left_out_ += count;
  }
  /// While muted, lines go nowhere.
  void mute(bool muted) noexcept { muted_ = muted; }
  std::uint64_t left_out() const noexcept { return handler_ ? left_out_ : 0; }

 private:
  Handler handler_;
  std::uint64_t left_;
  std::uint64_t left_out_ = 0;
  bool muted_ = false;
};

}  // namespace platter::qcow2
