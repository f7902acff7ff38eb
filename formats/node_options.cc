#include "formats/node_options.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>

#include <fmt/format.h>

#include "formats/option_value.h"
#include "io/bytes.h"

namespace platter {
namespace {

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

template <std::size_t count>
bool is_one_of(std::string_view text, const std::array<std::string_view, count>& words) {
  return std::ranges::find(words, text) != words.end();
}

// An option that has one of these words; anything else is what QEMU's parser of enumerations says.
template <std::size_t count>
Result<std::string> take_word(BlockOptions& options, std::string_view key,
                              const std::array<std::string_view, count>& words) {
  const std::optional<OptionValue> value = options.take(key);
  if (!value || is_one_of(value->text, words)) return value ? value->text : std::string();
  return wrong("invalid parameter value: " + value->text);
}

// Options that are checked and have no effect.
Result<void> pass_booleans(BlockOptions& options, std::span<const std::string_view> keys) {
  for (const std::string_view key : keys) {
    if (const auto value = options.take_boolean(key); !value) return fail(value.error().clone());
  }
  return {};
}

bool is_node_name(std::string_view name) {
  const auto part = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
  };
  return std::isalpha(static_cast<unsigned char>(name.front())) != 0 && name.size() < 32 &&
         std::ranges::all_of(name, part);
}

Result<void> check_discard(BlockOptions& options) {
  constexpr std::array<std::string_view, 4> kDiscard = {"ignore", "off", "unmap", "on"};
  constexpr std::array<std::string_view, 3> kDetect = {"off", "on", "unmap"};
  const std::optional<OptionValue> discard = options.take("discard");
  if (discard && !is_one_of(discard->text, kDiscard)) return wrong("Invalid discard option");
  const Result<std::string> detect = take_word(options, "detect-zeroes", kDetect);
  if (!detect) return fail(detect.error().clone());
  const bool unmaps = discard && (discard->text == "unmap" || discard->text == "on");
  if (*detect != "unmap" || unmaps) return {};
  return wrong(
      "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap");
}

}  // namespace

NodeOptions NodeOptions::inherited() const {
  NodeOptions below = *this;
  below.name.clear();
  return below;
}

void NodeOptions::apply_to(FileOptions& file) const {
  if (direct) file.cache = *direct ? CacheUse::direct : CacheUse::buffered;
  if (no_flush && *no_flush) file.durability = Durability::never;
  if (no_flush && !*no_flush && file.durability == Durability::never) {
    file.durability = Durability::on_flush;
  }
  if (force_share) file.lock.reset();
}

Result<NodeOptions> take_node_options(BlockOptions& options, const NodeOptions& inherited) {
  NodeOptions node = inherited;
  if (const auto name = options.take_text("node-name")) {
    if (name->empty() || !is_node_name(*name)) {
      return wrong(fmt::format("Invalid node-name: '{}'", *name));
    }
    node.name = *name;
  }
  struct Flag {
    std::string_view key;
    std::optional<bool> value;
  };
  std::array<Flag, 5> flags = {Flag{"read-only", {}}, Flag{"force-share", {}},
                               Flag{"auto-read-only", {}}, Flag{"cache.direct", {}},
                               Flag{"cache.no-flush", {}}};
  for (Flag& flag : flags) {
    const Result<std::optional<bool>> value = options.take_boolean(flag.key);
    if (!value) return fail(value.error().clone());
    flag.value = *value;
  }
  node.read_only = flags[0].value.value_or(inherited.read_only);
  node.force_share = flags[1].value.value_or(inherited.force_share);
  if (flags[3].value) node.direct = flags[3].value;
  if (flags[4].value) node.no_flush = flags[4].value;
  if (Result<void> discard = check_discard(options); !discard) {
    return fail(std::move(discard.error()));
  }
  return node;
}

bool is_file_driver(std::string_view driver) noexcept {
  return driver == "file" || driver == "host_device";
}

Result<FileNodeOptions> take_file_options(BlockOptions& options, const NodeOptions& node) {
  FileNodeOptions file;
  file.filename = options.take_text("filename").value_or("");
  if (file.filename.empty()) return wrong("The 'file' block driver requires a file name");
  constexpr std::array<std::string_view, 3> kAio = {"threads", "native", "io_uring"};
  const Result<std::string> aio = take_word(options, "aio", kAio);
  if (!aio) return fail(aio.error().clone());
  if (*aio == "native" && !node.direct.value_or(false)) {
    return wrong(
        "aio=native was specified, but it requires cache.direct=on, which was not specified.");
  }
  constexpr std::array<std::string_view, 3> kLocking = {"auto", "on", "off"};
  const Result<std::string> locking = take_word(options, "locking", kLocking);
  if (!locking) return fail(locking.error().clone());
  file.lock = *locking != "off";
  if (const auto manager = options.take("pr-manager")) {
    return wrong(fmt::format("No persistent reservation manager with id '{}'", manager->text));
  }
  constexpr std::array<std::string_view, 2> kPassed = {"drop-cache", "x-check-cache-dropped"};
  if (Result<void> passed = pass_booleans(options, kPassed); !passed) {
    return fail(std::move(passed.error()));
  }
  return file;
}

Result<WindowOptions> take_raw_options(BlockOptions& options) {
  const Result<std::optional<std::uint64_t>> offset = options.take_size("offset");
  if (!offset) return fail(offset.error().clone());
  const Result<std::optional<std::uint64_t>> size = options.take_size("size");
  if (!size) return fail(size.error().clone());
  return WindowOptions{.offset = offset->value_or(0), .size = *size};
}

namespace {

Result<void> check_overlap_options(BlockOptions& options) {
  constexpr std::array<std::string_view, 4> kTemplates = {"none", "constant", "cached", "all"};
  const std::optional<OptionValue> plain = options.take("overlap-check");
  const std::optional<OptionValue> nested = options.take("overlap-check.template");
  if (plain && nested && plain->text != nested->text) {
    return wrong(
        fmt::format("Conflicting values for qcow2 options 'overlap-check' ('{}') and "
                    "'overlap-check.template' ('{}')",
                    plain->text, nested->text));
  }
  const std::optional<OptionValue>& given = plain ? plain : nested;
  if (given && !is_one_of(given->text, kTemplates)) {
    return wrong(
        fmt::format("Unsupported value '{}' for qcow2 option 'overlap-check'. Allowed are "
                    "any of the following: none, constant, cached, all",
                    given->text));
  }
  constexpr std::array<std::string_view, 9> kParts = {
      "overlap-check.main-header",      "overlap-check.active-l1",
      "overlap-check.active-l2",        "overlap-check.refcount-table",
      "overlap-check.refcount-block",   "overlap-check.snapshot-table",
      "overlap-check.inactive-l1",      "overlap-check.inactive-l2",
      "overlap-check.bitmap-directory",
  };
  return pass_booleans(options, kParts);
}

Result<void> check_cache_sizes(BlockOptions& options) {
  const Result<std::optional<std::uint64_t>> all = options.take_size("cache-size");
  if (!all) return fail(all.error().clone());
  const Result<std::optional<std::uint64_t>> l2 = options.take_size("l2-cache-size");
  if (!l2) return fail(l2.error().clone());
  const Result<std::optional<std::uint64_t>> counts = options.take_size("refcount-cache-size");
  if (!counts) return fail(counts.error().clone());
  if (*all && *l2 && *counts) {
    return wrong(
        "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time");
  }
  if (*all && *l2 && **l2 > **all) return wrong("l2-cache-size may not exceed cache-size");
  if (*all && *counts && **counts > **all) {
    return wrong("refcount-cache-size may not exceed cache-size");
  }
  return {};
}

Result<void> check_clean_interval(BlockOptions& options) {
  const std::optional<OptionValue> interval = options.take("cache-clean-interval");
  if (!interval) return {};
  const Result<std::uint64_t> seconds = parse_number_option(interval->text, "cache-clean-interval");
  if (!seconds) return fail(seconds.error().clone());
  if (*seconds <= std::numeric_limits<std::uint32_t>::max()) return {};
  return wrong("Cache clean interval too big");
}

}  // namespace

Result<Qcow2NodeOptions> take_qcow2_options(BlockOptions& options) {
  Qcow2NodeOptions qcow2;
  constexpr std::array<std::string_view, 4> kPassed = {
      "lazy-refcounts", "pass-discard-request", "pass-discard-snapshot", "pass-discard-other"};
  Result<void> done = pass_booleans(options, kPassed);
  if (done) done = check_overlap_options(options);
  if (done) done = check_cache_sizes(options);
  if (done) done = check_clean_interval(options);
  if (!done) return fail(std::move(done.error()));
  const Result<std::optional<std::uint64_t>> entry = options.take_size("l2-cache-entry-size");
  if (!entry) return fail(entry.error().clone());
  qcow2.l2_cache_entry_size = *entry;
  const Result<std::optional<bool>> keep = options.take_boolean("discard-no-unref");
  if (!keep) return fail(keep.error().clone());
  qcow2.discard_no_unref = keep->value_or(false);
  BlockOptions encrypt = options.take_child("encrypt");
  if (const auto format = encrypt.take("format")) qcow2.encrypt_format = format->text;
  return qcow2;
}

Result<void> check_nothing_left(const BlockOptions& options, std::string_view driver) {
  if (options.empty()) return {};
  const std::string& key = options.all().front().first;
  return wrong(
      is_file_driver(driver)
          ? fmt::format("Block protocol '{}' doesn't support the option '{}'", driver, key)
          : fmt::format("Block format '{}' does not support the option '{}'", driver, key));
}

}  // namespace platter
