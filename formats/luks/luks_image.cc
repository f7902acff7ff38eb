#include "formats/luks/luks_image.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "formats/luks/luks1_keys.h"
#include "formats/raw/raw_create.h"
#include "io/bytes.h"
#include "io/direct_file.h"
#include "io/ring.h"

namespace platter::luks {
namespace {

constexpr std::size_t kHeadSize = 4096;
constexpr std::uint16_t kVersion2 = 2;

std::uint16_t version_of(std::span<const std::byte> head) {
  be16 version;
  std::memcpy(&version, head.data() + sizeof kMagic, sizeof version);
  return version;
}

Result<void> check_magic(std::span<const std::byte> head) {
  if (head.size() >= sizeof kMagic + sizeof(be16) &&
      std::memcmp(head.data(), kMagic, sizeof kMagic) == 0) {
    return {};
  }
  return fail(ErrorKind::unknown_format, "Volume is not in LUKS format");
}

void describe(LuksInfo& info, const CipherSpec& spec) {
  info.cipher = fmt::format("{}-{}", to_string(spec.algorithm), spec.key_bits);
  info.mode = to_string(spec.mode);
  info.iv_generator = spec.iv == IvGenerator::none ? "plain" : std::string(to_string(spec.iv));
}

}  // namespace

LuksInfo info_of(const Luks1Header& header) {
  LuksInfo info{.version = 1, .hash = header.hash(), .uuid = header.uuid()};
  describe(info, header.spec());
  // As the header has it, also where it has no effect.
  const std::string mode = header.disk().cipher_mode;
  const std::string words = mode.substr(mode.find('-') + 1);
  const std::size_t colon = words.find(':');
  info.iv_generator = words.substr(0, colon);
  if (header.spec().iv == IvGenerator::essiv) info.iv_hash = words.substr(colon + 1);
  for (unsigned number = 0; number < kSlots; ++number) {
    const Luks1DiskSlot& slot = header.slot(number);
    info.slots.push_back({.active = header.is_active(number),
                          .key_offset = header.material_offset(number),
                          .stripes = slot.stripes,
                          .iterations = slot.iterations});
  }
  info.payload_offset = header.payload_offset();
  info.master_key_iterations = header.disk().master_key_iterations;
  return info;
}

Task<std::unique_ptr<LuksImage>> LuksImage::open(LuksFiles files, std::string filename,
                                                 LuksOpenOptions options) {
  std::unique_ptr<LuksImage> image(new LuksImage(std::move(files), std::move(filename)));
  co_await image->load(options);
  co_return image;
}

Result<std::unique_ptr<LuksImage>> LuksImage::of_new(std::unique_ptr<File> file,
                                                     std::string filename,
                                                     const Luks1Header& header, Secret key,
                                                     std::uint64_t file_size) {
  LuksFiles files{.payload = std::move(file), .header = nullptr};
  std::unique_ptr<LuksImage> image(new LuksImage(std::move(files), std::move(filename)));
  image->info_ = info_of(header);
  if (auto done = image->unlock(header.spec(), key); !done) {
    return fail(std::move(done.error()));
  }
  image->header_ = header;
  image->key_ = std::move(key);
  image->virtual_size_ = align_up(file_size - header.payload_offset(), kSectorSize);
  return image;
}

Task<void> LuksImage::load(LuksOpenOptions options) {
  const Buffer buffer = co_await Ring::current().buffers().acquire(kHeadSize);
  const std::size_t count = co_await header_file().read(0, buffer.bytes());
  const std::span<const std::byte> head = buffer.first(std::min(count, kHeadSize));
  co_await check_magic(head);
  if (version_of(head) == kVersion2) {
    co_await load_luks2(options);
  } else {
    co_await load_luks1(head, options);
  }
  co_await measure();
}

Task<void> LuksImage::load_luks1(std::span<const std::byte> head, LuksOpenOptions options) {
  const PayloadPlace payload = files_.header ? PayloadPlace::own_file : PayloadPlace::behind_header;
  const Luks1Header header = co_await Luks1Header::parse(head, payload);
  info_ = info_of(header);
  header_ = header;
  if (files_.header) info_.payload_offset = 0;
  if (options.passphrase == nullptr) co_return;
  UnlockedKey unlocked = co_await unlock_luks1({.file = header_file()}, header,
                                               options.passphrase->view(), options.limits);
  co_await unlock(header.spec(), unlocked.key);
  key_ = std::move(unlocked.key);
}

// libcryptsetup opens the file once more: by the descriptor, so that it is the same one.
Task<void> LuksImage::load_luks2(LuksOpenOptions options) {
  auto* const file = dynamic_cast<DirectFile*>(&header_file());
  if (file == nullptr) {
    co_await fail(ErrorKind::unsupported, "A LUKS2 image can't lie in a part of a file");
  }
  const Luks2Place place{.path = fmt::format("/proc/self/fd/{}", file->fd()), .name = file->name()};
  const Luks2Header header = co_await read_luks2(place);
  const CipherSpec spec = co_await parse_cipher_spec(header.cipher, header.mode, header.key_size);
  info_ = {.version = 2, .uuid = header.uuid};
  describe(info_, spec);
  if (spec.iv == IvGenerator::essiv) info_.iv_hash = spec.iv_hash;
  for (const Luks2Slot& slot : header.slots) {
    if (info_.slots.size() <= slot.number) info_.slots.resize(slot.number + 1);
    info_.slots[slot.number] = {.active = true,
                                .iterations = slot.iterations,
                                .pbkdf = slot.pbkdf,
                                .memory_kib = slot.memory_kib};
  }
  info_.payload_offset = files_.header ? 0 : header.payload_offset;
  info_.sector_size = header.sector_size;
  fixed_size_ = header.payload_size;
  if (options.passphrase == nullptr) co_return;
  const Secret key = co_await unlock_luks2(place, options.passphrase->view(), options.limits);
  co_await unlock(spec, key);
}

Result<void> LuksImage::unlock(const CipherSpec& spec, const Secret& key) {
  Result<Secret> own = Secret::copy_of(key.view());
  if (!own) return fail(std::move(own.error()));
  auto cipher = SectorCipher::create(spec, *std::move(own), info_.sector_size);
  if (!cipher) return fail(std::move(cipher.error()));
  plain_ = std::make_unique<CipherFile>(*files_.payload, *std::move(cipher), info_.payload_offset);
  return {};
}

Task<void> LuksImage::measure() {
  const std::uint64_t size = co_await files_.payload->size();
  if (size < info_.payload_offset) {
    co_await fail(ErrorKind::corrupt_image,
                  fmt::format("'{}' ends before the LUKS payload, which begins at {}",
                              files_.payload->name(), info_.payload_offset));
  }
  const std::uint64_t payload = size - info_.payload_offset;
  if (payload > align_down(kMaxFileSize, kSectorSize)) {
    co_await fail(ErrorKind::too_large, "'" + filename_ + "' is larger than any image can be");
  }
  virtual_size_ = align_up(payload, kSectorSize);
  if (info_.version == 1) co_return;
  virtual_size_ = align_down(payload, info_.sector_size);
  if (!fixed_size_) co_return;
  if (*fixed_size_ > payload || !is_aligned(*fixed_size_, info_.sector_size)) {
    co_await fail(
        ErrorKind::corrupt_image,
        fmt::format("'{}' ends before the LUKS payload of {} bytes", filename_, *fixed_size_));
  }
  virtual_size_ = *fixed_size_;
}

Result<void> LuksImage::check_unlocked() const {
  if (plain_) return {};
  return fail(ErrorKind::permission, "Parameter 'key-secret' is required for cipher");
}

File& LuksImage::file() noexcept {
  if (plain_) return *plain_;
  return *files_.payload;
}

Task<ImageInfo> LuksImage::info() {
  ImageInfo info;
  info.filename = filename_;
  info.format = format();
  info.virtual_size = virtual_size_;
  info.encrypted = true;
  if (const auto* file = dynamic_cast<const DirectFile*>(files_.payload->locate(0).file)) {
    info.actual_size = co_await file->disk_usage();
  }
  co_return info;
}

Task<std::vector<Mapping>> LuksImage::map(std::uint64_t offset, std::uint64_t length,
                                          std::size_t /*count_max*/) {
  co_await check_unlocked();
  co_await check_bounds(offset, length);
  std::vector<Mapping> mappings;
  if (length == 0) co_return mappings;
  // The last sector of a file that ends within it can't be read as it lies there.
  const std::uint64_t whole = co_await plain_->size();
  const bool readable = offset < whole;
  mappings.push_back({.offset = offset,
                      .length = readable ? std::min(length, whole - offset) : length,
                      .kind = readable ? MappingKind::data : MappingKind::zero,
                      .file = readable ? plain_.get() : nullptr,
                      .file_offset = readable ? offset : 0});
  co_return mappings;
}

Task<void> LuksImage::read(std::uint64_t offset, std::span<std::byte> into) {
  co_await check_unlocked();
  co_await check_bounds(offset, into.size());
  const std::size_t count = co_await plain_->read(offset, into);
  std::memset(into.data() + count, 0, into.size() - count);
}

Task<void> LuksImage::write(std::uint64_t offset, std::span<const std::byte> data) {
  co_await check_writable();
  co_await check_unlocked();
  co_await check_bounds(offset, data.size());
  co_await plain_->write(offset, data);
}

Task<WritePlace> LuksImage::prepare_write(std::uint64_t offset, std::uint64_t length) {
  co_await check_writable();
  co_await check_unlocked();
  co_await check_bounds(offset, length);
  co_return WritePlace{
      .file = plain_.get(), .file_offset = offset, .length = length, .guest_offset = offset};
}

Task<void> LuksImage::commit_write(const WritePlace& /*place*/) { co_return; }

Task<void> LuksImage::write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
  co_await check_writable();
  co_await check_unlocked();
  co_await check_bounds(offset, length);
  co_await plain_->write_zeroes(offset, length, mode);
}

Task<void> LuksImage::discard(std::uint64_t offset, std::uint64_t length) {
  co_await check_writable();
  co_await check_bounds(offset, length);
}

Task<void> LuksImage::resize(std::uint64_t size, ResizeOptions options) {
  co_await check_writable();
  co_await check_unlocked();
  if (fixed_size_) co_await fail(ErrorKind::unsupported, "The LUKS2 payload has a fixed size");
  constexpr std::uint64_t kMax = align_down(kMaxFileSize, kSectorSize);
  if (!in_bounds(info_.payload_offset, size, kMax - info_.sector_size)) {
    co_await fail(ErrorKind::too_large,
                  fmt::format("'{}': {} bytes are more than any image can have", filename_, size));
  }
  // A LUKS2 payload has whole sectors alone; QEMU lets a LUKS1 file end within one.
  if (info_.version != 1) size = align_up(size, info_.sector_size);
  const std::uint64_t before = co_await files_.payload->size();
  co_await resize_raw(*files_.payload, before, info_.payload_offset + size, options);
  virtual_size_ = align_up(size, kSectorSize);
}

Task<void> LuksImage::amend(LuksAmendOptions options) {
  co_await check_writable();
  co_await check_unlocked();
  if (!header_) co_await fail(ErrorKind::unsupported, "A LUKS2 image can't be amended");
  co_await amend_luks1({.file = header_file()}, *header_, key_, std::move(options));
  const std::uint64_t payload_offset = info_.payload_offset;
  info_ = info_of(*header_);
  info_.payload_offset = payload_offset;
}

Task<void> LuksImage::close() {
  plain_.reset();
  Result<void> closed = co_await files_.payload->close().result();
  if (files_.header) co_await files_.header->close();
  co_await std::move(closed);
}

}  // namespace platter::luks
