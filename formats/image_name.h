// What to open, as whoever asks for it named it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "formats/block_options.h"
#include "io/error.h"

namespace platter {

/// A name and how it is to be read. A plain string is a path. Cheap to copy.
class ImageName {
 public:
  enum class Form : std::uint8_t {
    path,       ///< a path, or file:PATH
    reference,  ///< the same, and an image said so: the policy's rules for references hold
    options,    ///< options of block nodes
  };

  ImageName() = default;
  ImageName(std::string path) : text_(std::move(path)) {}  // NOLINT: a string is a path
  ImageName(const char* path) : text_(path) {}             // NOLINT: likewise
  ImageName(std::string text, Form form) : text_(std::move(text)), form_(form) {}

  /// As a user types it: json:{...} holds options. What is wrong with those is told when it is opened.
  static ImageName of_user(std::string text);
  /// A list of options. Errors: invalid_argument.
  static Result<ImageName> of_options(std::string text);

  /// For messages, too.
  const std::string& text() const noexcept { return text_; }
  Form form() const noexcept { return form_; }
  /// REQUIRES: Form::options. Errors: invalid_argument.
  Result<BlockOptions> options() const;
  /// What is outdated in it: lines for people.
  std::vector<std::string> warnings() const;

 private:
  std::string text_;
  Form form_ = Form::path;
  std::shared_ptr<const Result<BlockOptions>> options_;
};

}  // namespace platter
