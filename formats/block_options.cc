#include "formats/block_options.h"

#include <algorithm>

#include <fmt/format.h>

#include "formats/json_reader.h"
#include "formats/node_options.h"
#include "formats/option_value.h"

namespace platter {
namespace {

// Objects and arrays as keys with dots. What is nested counts before what was written with dots.
void flatten(const std::string& prefix, const JsonValue& value, BlockOptions& into) {
  const auto inner = [&](const std::string& key) { return key.empty() ? key : key + "."; };
  if (value.members.empty()) {
    into.set(prefix, value.scalar);
    return;
  }
  for (const bool nested : {false, true}) {
    for (const auto& [name, member] : value.members) {
      if (member.members.empty() != nested) flatten(inner(prefix) + name, member, into);
    }
  }
}

}  // namespace

Result<BlockOptions> BlockOptions::from_text(std::string_view text) {
  BlockOptions options;
  bool first = true;
  for (std::string_view rest = text; !rest.empty(); first = false) {
    if (Result<void> read = options.read_word(rest, first); !read) {
      return fail(std::move(read.error()));
    }
  }
  options.warn_of_empty_backing();
  return options;
}

// One word, with the comma behind it.
Result<void> BlockOptions::read_word(std::string_view& rest, bool first) {
  const std::size_t end = std::min(rest.find_first_of("=,"), rest.size());
  const bool has_value = end < rest.size() && rest[end] == '=';
  if (!has_value && first) {
    set("file", {.text = take_option_value(rest)});
    return {};
  }
  std::string name(rest.substr(0, end));
  rest.remove_prefix(std::min(end + 1, rest.size()));
  if (has_value) {
    std::string value = take_option_value(rest);
    if (name == "id") {
      if (Result<void> good = check_identifier(value, name); !good) return good;
    }
    set(std::move(name), {.text = std::move(value)});
    return {};
  }
  const bool negated = name.starts_with("no");
  const std::string meant = negated ? name.substr(2) : name;
  const std::string_view value = negated ? "off" : "on";
  warnings_.push_back(fmt::format(
      "short-form boolean option '{}' deprecated\nPlease use {}={} instead", name, meant, value));
  set(meant, {.text = std::string(value)});
  return {};
}

Result<BlockOptions> BlockOptions::from_json(std::string_view text) {
  const Result<JsonValue> value = read_json(text);
  if (!value) {
    return fail(ErrorKind::invalid_argument,
                "Could not parse the JSON options: " + value.error().message());
  }
  if (!value->is_object) return fail(ErrorKind::invalid_argument, "Invalid JSON object given");
  BlockOptions options;
  if (!value->members.empty()) flatten("", *value, options);
  options.warn_of_empty_backing();
  return options;
}

void BlockOptions::warn_of_empty_backing() {
  for (const auto& [key, value] : options_) {
    const bool names_backing = key == "backing" || key.ends_with(".backing");
    if (!names_backing || value.kind != OptionValue::Kind::text || !value.text.empty()) continue;
    warnings_.emplace_back("Use of \"backing\": \"\" is deprecated; use \"backing\": null instead");
  }
}

BlockOptions BlockOptions::of_path(std::string path, const std::string& format) {
  BlockOptions options;
  if (!format.empty()) options.set("driver", {.text = format});
  options.set(is_file_driver(format) ? "filename" : "file.filename", {.text = std::move(path)});
  return options;
}

void BlockOptions::set(std::string key, OptionValue value) {
  const auto found = std::ranges::find(options_, key, &std::pair<std::string, OptionValue>::first);
  if (found != options_.end()) {
    found->second = std::move(value);
  } else {
    options_.emplace_back(std::move(key), std::move(value));
  }
}

const OptionValue* BlockOptions::find(std::string_view key) const noexcept {
  const auto found = std::ranges::find(options_, key, &std::pair<std::string, OptionValue>::first);
  return found == options_.end() ? nullptr : &found->second;
}

bool BlockOptions::has_child(std::string_view name) const noexcept {
  return std::ranges::any_of(options_, [name](const auto& option) {
    return option.first.starts_with(name) && option.first.substr(name.size()).starts_with('.');
  });
}

std::optional<std::string> BlockOptions::take_text(std::string_view key) {
  const OptionValue* value = find(key);
  if (value == nullptr || value->kind != OptionValue::Kind::text) return std::nullopt;
  return take(key)->text;
}

std::optional<OptionValue> BlockOptions::take(std::string_view key) {
  const auto found = std::ranges::find(options_, key, &std::pair<std::string, OptionValue>::first);
  if (found == options_.end()) return std::nullopt;
  OptionValue value = std::move(found->second);
  options_.erase(found);
  if (value.kind == OptionValue::Kind::null) return std::nullopt;
  return value;
}

Result<std::optional<bool>> BlockOptions::take_boolean(std::string_view key) {
  const std::optional<OptionValue> value = take(key);
  if (!value) return std::nullopt;
  const Result<bool> parsed = parse_boolean_option(value->text, key);
  if (!parsed) return fail(parsed.error().clone());
  return *parsed;
}

Result<std::optional<std::uint64_t>> BlockOptions::take_size(std::string_view key) {
  const std::optional<OptionValue> value = take(key);
  if (!value) return std::nullopt;
  const Result<std::uint64_t> parsed = parse_size_option(value->text, key);
  if (!parsed) return fail(parsed.error().clone());
  return *parsed;
}

BlockOptions BlockOptions::take_child(std::string_view name) {
  BlockOptions child;
  std::erase_if(options_, [&](auto& option) {
    const bool inside =
        option.first.starts_with(name) && option.first.substr(name.size()).starts_with('.');
    if (inside) child.set(option.first.substr(name.size() + 1), std::move(option.second));
    return inside;
  });
  return child;
}

}  // namespace platter
