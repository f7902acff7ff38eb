#include "formats/probe.h"

#include <cstring>
#include <string>

namespace platter {
namespace {

struct Signature {
  std::string_view format;
  std::size_t offset;
  std::string_view bytes;
};

using namespace std::string_view_literals;

// The signatures of QEMU's drivers, as their formats' documents give them.
constexpr Signature kSignatures[] = {
    {"qcow", 0, "QFI\xfb\0\0\0\1"sv},
    {"qcow2", 0, "QFI\xfb"sv},  // of any later version: never raw
    {"luks", 0, "LUKS\xba\xbe"sv},
    {"qed", 0, "QED\0"sv},
    {"vmdk", 0, "KDMV"sv},
    {"vmdk", 0, "COWD"sv},
    {"vdi", 0x40, "\x7f\x10\xda\xbe"sv},
    {"vhdx", 0, "vhdxfile"sv},
    {"vpc", 0, "conectix"sv},
    {"parallels", 0, "WithoutFreeSpace"sv},
    {"parallels", 0, "WithouFreSpacExt"sv},
    {"bochs", 0, "Bochs Virtual HD Image"sv},
};

// A VMDK descriptor file: text whose first line says so.
bool is_vmdk_descriptor(std::string_view text) {
  constexpr std::string_view kComment = "# Disk DescriptorFile";
  return text.starts_with(kComment);
}

}  // namespace

std::string_view probe_format(std::span<const std::byte> head) noexcept {
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  for (const Signature& signature : kSignatures) {
    if (text.size() < signature.offset + signature.bytes.size()) continue;
    if (text.substr(signature.offset, signature.bytes.size()) == signature.bytes) {
      return signature.format;
    }
  }
  return is_vmdk_descriptor(text) ? "vmdk" : "raw";
}

}  // namespace platter
