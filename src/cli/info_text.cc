#include "src/cli/info_text.h"

#include <time.h>

#include <array>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "src/cli/json_text.h"
#include "src/cli/limits_text.h"
#include "src/cli/size.h"

namespace platter::cli {
namespace {

using nlohmann::ordered_json;

constexpr std::uint64_t kNanoseconds = 1'000'000'000;

const char* word(bool value) { return value ? "true" : "false"; }
const char* compat(unsigned version) { return version == 2 ? "0.10" : "1.1"; }

std::string local_date(std::uint32_t seconds) {
  const time_t when = seconds;
  struct tm parts{};
  ::localtime_r(&when, &parts);
  std::array<char, 32> text{};
  ::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts);
  return text.data();
}

std::string vm_clock(std::uint64_t nanoseconds) {
  const std::uint64_t seconds = nanoseconds / kNanoseconds;
  return fmt::format("{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60,
                     nanoseconds % kNanoseconds / 1'000'000);
}

std::string qcow2_text(const Qcow2Info& info) {
  std::string text = "Format specific information:\n";
  text += fmt::format("    compat: {}\n", compat(info.version));
  text += fmt::format("    compression type: {}\n", info.compression_type);
  if (info.version >= 3) text += fmt::format("    lazy refcounts: {}\n", word(info.lazy_refcounts));
  if (!info.bitmaps.empty()) text += "    bitmaps:\n";
  for (std::size_t i = 0; i < info.bitmaps.size(); ++i) {
    const BitmapInfo& bitmap = info.bitmaps[i];
    text += fmt::format("        [{}]:\n            flags:\n", i);
    std::size_t flag = 0;
    if (bitmap.in_use) text += fmt::format("                [{}]: in-use\n", flag++);
    if (bitmap.automatic) text += fmt::format("                [{}]: auto\n", flag++);
    text += fmt::format("            name: {}\n            granularity: {}\n", bitmap.name,
                        bitmap.granularity);
  }
  text += fmt::format("    refcount bits: {}\n", info.refcount_bits);
  if (info.data_file) {
    text += fmt::format("    data file: {}\n", *info.data_file);
    text += fmt::format("    data file raw: {}\n", word(info.data_file_raw));
  }
  if (info.version >= 3) {
    text += fmt::format("    corrupt: {}\n    extended l2: {}\n", word(info.corrupt),
                        word(info.extended_l2));
  }
  return text;
}

std::string luks_slot_text(const LuksInfo& info, std::size_t number) {
  const LuksSlotInfo& slot = info.slots[number];
  std::string text =
      fmt::format("        [{}]:\n            active: {}\n", number, word(slot.active));
  if (slot.active) text += fmt::format("            iters: {}\n", slot.iterations);
  if (info.version == 1) text += fmt::format("            key offset: {}\n", slot.key_offset);
  if (slot.active && info.version == 1) {
    text += fmt::format("            stripes: {}\n", slot.stripes);
  }
  if (!slot.pbkdf.empty()) text += fmt::format("            pbkdf: {}\n", slot.pbkdf);
  if (slot.memory_kib != 0) text += fmt::format("            memory: {} KiB\n", slot.memory_kib);
  return text;
}

// qemu-img's for version 1; more, and less, for version 2, which it can't read.
std::string luks_text(const LuksInfo& info) {
  std::string text = "Format specific information:\n";
  if (info.version != 1) text += fmt::format("    version: {}\n", info.version);
  text += fmt::format("    ivgen alg: {}\n", info.iv_generator);
  if (!info.hash.empty()) text += fmt::format("    hash alg: {}\n", info.hash);
  text += fmt::format("    cipher alg: {}\n    uuid: {}\n", info.cipher, info.uuid);
  if (info.iv_hash) text += fmt::format("    ivgen hash alg: {}\n", *info.iv_hash);
  text += fmt::format("    cipher mode: {}\n    slots:\n", info.mode);
  for (std::size_t i = 0; i < info.slots.size(); ++i) text += luks_slot_text(info, i);
  text += fmt::format("    payload offset: {}\n", info.payload_offset);
  if (info.version == 1)
    text += fmt::format("    master key iters: {}\n", info.master_key_iterations);
  if (info.version != 1) text += fmt::format("    sector size: {}\n", info.sector_size);
  return text;
}

ordered_json to_json(const LuksInfo& info, const LuksSlotInfo& slot) {
  ordered_json json;
  json["active"] = slot.active;
  if (slot.active) json["iters"] = slot.iterations;
  if (info.version == 1) json["key-offset"] = slot.key_offset;
  if (slot.active && info.version == 1) json["stripes"] = slot.stripes;
  if (!slot.pbkdf.empty()) json["pbkdf"] = slot.pbkdf;
  if (slot.memory_kib != 0) json["memory-kib"] = slot.memory_kib;
  return json;
}

ordered_json to_json(const LuksInfo& info) {
  ordered_json data;
  if (info.version != 1) data["version"] = info.version;
  data["ivgen-alg"] = info.iv_generator;
  if (!info.hash.empty()) data["hash-alg"] = info.hash;
  data["cipher-alg"] = info.cipher;
  data["uuid"] = info.uuid;
  if (info.iv_hash) data["ivgen-hash-alg"] = *info.iv_hash;
  data["cipher-mode"] = info.mode;
  data["slots"] = ordered_json::array();
  for (const LuksSlotInfo& slot : info.slots) data["slots"].push_back(to_json(info, slot));
  data["payload-offset"] = info.payload_offset;
  if (info.version == 1) data["master-key-iters"] = info.master_key_iterations;
  if (info.version != 1) data["sector-size"] = info.sector_size;
  ordered_json json;
  json["type"] = "luks";
  json["data"] = std::move(data);
  return json;
}

ordered_json to_json(const SnapshotInfo& snapshot) {
  ordered_json json;
  if (snapshot.icount) json["icount"] = *snapshot.icount;
  json["vm-clock-nsec"] = snapshot.vm_clock_nsec % kNanoseconds;
  json["name"] = snapshot.name;
  json["date-sec"] = snapshot.date_sec;
  json["date-nsec"] = snapshot.date_nsec;
  json["vm-clock-sec"] = snapshot.vm_clock_nsec / kNanoseconds;
  json["id"] = snapshot.id;
  json["vm-state-size"] = snapshot.vm_state_size;
  return json;
}

ordered_json to_json(const Qcow2Info& info) {
  ordered_json data;
  data["compat"] = compat(info.version);
  data["compression-type"] = info.compression_type;
  if (info.version >= 3) data["lazy-refcounts"] = info.lazy_refcounts;
  for (const BitmapInfo& bitmap : info.bitmaps) {
    ordered_json flags = ordered_json::array();
    if (bitmap.in_use) flags.push_back("in-use");
    if (bitmap.automatic) flags.push_back("auto");
    ordered_json entry;
    entry["flags"] = std::move(flags);
    entry["name"] = bitmap.name;
    entry["granularity"] = bitmap.granularity;
    data["bitmaps"].push_back(std::move(entry));
  }
  data["refcount-bits"] = info.refcount_bits;
  if (info.data_file) {
    data["data-file"] = *info.data_file;
    data["data-file-raw"] = info.data_file_raw;
  }
  if (info.version >= 3) {
    data["corrupt"] = info.corrupt;
    data["extended-l2"] = info.extended_l2;
  }
  ordered_json json;
  json["type"] = "qcow2";
  json["data"] = std::move(data);
  return json;
}

// Keys in the order in which qemu-img prints them.
ordered_json to_json(const ToldImage& image) {
  const ImageInfo& info = image.info;
  ordered_json json;
  if (image.limits) json["limits"] = limits_json(*image.limits);
  if (info.backing_format) json["backing-filename-format"] = *info.backing_format;
  for (const SnapshotInfo& snapshot : info.snapshots) {
    json["snapshots"].push_back(to_json(snapshot));
  }
  json["virtual-size"] = info.virtual_size;
  json["filename"] = info.filename;
  if (info.cluster_size) json["cluster-size"] = *info.cluster_size;
  json["format"] = info.format;
  if (info.actual_size) json["actual-size"] = *info.actual_size;
  if (info.qcow2) json["format-specific"] = to_json(*info.qcow2);
  if (image.luks) json["format-specific"] = to_json(*image.luks);
  if (image.luks) json["encrypted"] = true;  // qemu-img's order has no reason
  if (info.full_backing_file) json["full-backing-filename"] = *info.full_backing_file;
  if (info.backing_file) json["backing-filename"] = *info.backing_file;
  json["dirty-flag"] = info.dirty;
  if (info.encrypted) json["encrypted"] = true;
  return json;
}

// As printf pads it: by bytes, whatever they show.
std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text;
}

}  // namespace

std::string snapshot_list(const std::vector<SnapshotInfo>& snapshots) {
  std::string text = fmt::format("{:<10}{:<17}{:>8}{:>20}{:>13}{:>11}\n", "ID", "TAG", "VM SIZE",
                                 "DATE", "VM CLOCK", "ICOUNT");
  for (const SnapshotInfo& snapshot : snapshots) {
    text += padded(snapshot.id, 9) + ' ' + padded(snapshot.name, 16) + ' ';
    text += fmt::format("{:>8}{:>20}{:>13}{:>11}\n", human_size(snapshot.vm_state_size),
                        local_date(snapshot.date_sec), vm_clock(snapshot.vm_clock_nsec),
                        snapshot.icount ? std::to_string(*snapshot.icount) : "");
  }
  return text;
}

std::string format_specific_text(const ImageInfo& info) {
  return info.qcow2 ? qcow2_text(*info.qcow2) : "";
}

std::string info_text(const ToldImage& image) {
  const ImageInfo& info = image.info;
  std::string text =
      fmt::format("image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\ndisk size: {}\n",
                  info.filename, info.format, human_size(info.virtual_size), info.virtual_size,
                  info.actual_size ? human_size(*info.actual_size) : "unavailable");
  if (info.encrypted) text += "encrypted: yes\n";
  if (info.cluster_size) text += fmt::format("cluster_size: {}\n", *info.cluster_size);
  if (info.dirty) text += "cleanly shut down: no\n";
  if (info.backing_file) {
    text += fmt::format("backing file: {}", *info.backing_file);
    if (info.full_backing_file && info.full_backing_file != info.backing_file) {
      text += fmt::format(" (actual path: {})", *info.full_backing_file);
    }
    text += '\n';
    if (info.backing_format) text += fmt::format("backing file format: {}\n", *info.backing_format);
  }
  if (image.limits) text += limits_text(*image.limits);
  if (!info.snapshots.empty()) text += "Snapshot list:\n" + snapshot_list(info.snapshots);
  if (image.luks) return text + luks_text(*image.luks);
  return text + format_specific_text(info);
}

std::string info_json(const std::vector<ToldImage>& images, bool chain) {
  ordered_json document;
  if (chain) {
    document = ordered_json::array();
    for (const ToldImage& image : images) document.push_back(to_json(image));
  } else {
    document = to_json(images.front());
  }
  return json_text(document);
}

}  // namespace platter::cli
