// What to open, as whoever asks for it named it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace platter {

/// A name and how it is to be read. A plain string is a path.
class ImageName {
 public:
  enum class Form : std::uint8_t {
    path,       ///< a path, or file:PATH
    reference,  ///< the same, and an image said so: the policy's rules for references hold
  };

  ImageName() = default;
  ImageName(std::string path) : text_(std::move(path)) {}  // NOLINT: a string is a path
  ImageName(const char* path) : text_(path) {}             // NOLINT: likewise
  ImageName(std::string text, Form form) : text_(std::move(text)), form_(form) {}

  /// For messages, too.
  const std::string& text() const noexcept { return text_; }
  Form form() const noexcept { return form_; }

 private:
  std::string text_;
  Form form_ = Form::path;
};

}  // namespace platter
