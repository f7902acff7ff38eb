#include "formats/image_name.h"

namespace platter {

ImageName ImageName::of_user(std::string text) {
  constexpr std::string_view kJson = "json:";
  ImageName name(std::move(text));
  if (!name.text_.starts_with(kJson)) return name;
  name.form_ = Form::options;
  name.options_ = std::make_shared<const Result<BlockOptions>>(
      BlockOptions::from_json(std::string_view(name.text_).substr(kJson.size())));
  return name;
}

Result<ImageName> ImageName::of_options(std::string text) {
  Result<BlockOptions> options = BlockOptions::from_text(text);
  if (!options) return fail(std::move(options.error()));
  ImageName name(std::move(text), Form::options);
  name.options_ = std::make_shared<const Result<BlockOptions>>(std::move(options));
  return name;
}

Result<BlockOptions> ImageName::options() const {
  const Result<BlockOptions>& options = *options_;
  if (!options) return fail(options.error().clone());
  return *options;
}

std::vector<std::string> ImageName::warnings() const {
  if (form_ != Form::options || !*options_) return {};
  return (*options_)->warnings();
}

}  // namespace platter
