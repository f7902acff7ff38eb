// What the tests of tasks measure: how deep the stack gets, and who is created and destroyed when.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace platter::test {

/// The range of the stack between the deepest and the shallowest touch(). Frame addresses are those
/// of the machine's stack, whatever AddressSanitizer does with locals.
class StackProbe {
 public:
  [[gnu::noinline]] void touch() noexcept {
    const auto at = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    lowest_ = std::min(lowest_, at);
    highest_ = std::max(highest_, at);
  }
  void reset() noexcept { *this = {}; }
  /// Bytes.
  std::size_t range() const noexcept { return highest_ < lowest_ ? 0 : highest_ - lowest_; }

 private:
  std::uintptr_t lowest_ = UINTPTR_MAX;
  std::uintptr_t highest_ = 0;
};

/// What "no stack" means: room for one await chain at -O0 with sanitizers, far from one frame for
/// each of many iterations.
inline constexpr std::size_t kStackBound = 16384;

/// Creations ("+name") and destructions ("-name"), in order.
class Journal {
 public:
  void add(std::string_view entry) {
    if (!text_.empty()) text_ += ' ';
    text_ += entry;
  }
  const std::string& text() const noexcept { return text_; }

  /// Writes down its own life. Can't be copied or moved.
  class Entry {
   public:
    Entry(Journal& journal, std::string name) : journal_(journal), name_(std::move(name)) {
      journal_.add("+" + name_);
    }
    ~Entry() { journal_.add("-" + name_); }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

   private:
    Journal& journal_;
    std::string name_;
  };

 private:
  std::string text_;
};

}  // namespace platter::test
