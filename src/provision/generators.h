// Templates that are made rather than fetched: empty disks, swap areas, filesystems.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "src/provision/swap_header.h"
#include "src/provision/template_source.h"

namespace platter::provision {

/// Of fetch() of all of these: the target becomes `size` bytes long, or is a device of at least that
/// size, of which the first `size` bytes are used. A digest can't be expected (invalid_argument).

/// Zeroes.
std::unique_ptr<TemplateSource> empty_source(std::uint64_t size);
/// A swap area.
std::unique_ptr<TemplateSource> swap_source(std::uint64_t size, SwapOptions options = {});

enum class Filesystem : std::uint8_t { ext4, xfs, vfat };
/// "ext4", ...
std::string_view to_string(Filesystem filesystem) noexcept;
/// Errors: invalid_argument.
Result<Filesystem> parse_filesystem(std::string_view name);

/// An empty filesystem, by this system's mkfs (see run_program.h). fetch() fails with unsupported where
/// that is not installed, and for targets that are no DirectFile; with io where mkfs does.
/// Errors, here: invalid_argument (a label that is too long for it, or begins with '-', or has
/// characters other than letters, digits, '_', '.', '-').
Result<std::unique_ptr<TemplateSource>> filesystem_source(Filesystem filesystem, std::uint64_t size,
                                                          std::string label = {});

/// The base image's name, as Nova has it: "ephemeral_<GiB>_<7 digits>", the digits being the MD5 of the
/// filesystem's name. Errors: unsupported (OpenSSL has no MD5 here).
Result<std::string> ephemeral_base_name(std::uint64_t size_gib, Filesystem filesystem);
/// "swap_<MiB>".
std::string swap_base_name(std::uint64_t size_mib);

}  // namespace platter::provision
