#include "formats/luks/luks_image.h"

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "formats/luks/luks1_create.h"
#include "formats/luks/luks1_keys.h"
#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"

namespace platter::luks {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

Secret secret_of(std::string_view text) { return Secret::copy_of(bytes_of(text)).value(); }

class LuksImageTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kSize = 1 * kMiB;

  void SetUp() override { ring_ = *Ring::create(); }

  // A file with a header of small keys and room for the guest.
  std::unique_ptr<MemoryFile> make(Luks1CreateOptions options = small()) {
    auto file = std::make_unique<MemoryFile>("image.luks");
    Luks1Header header = plan_luks1(options).value();
    const Result<Secret> key =
        ring_->run(create_luks1({.file = *file}, header, bytes_of("pass"), 1));
    EXPECT_TRUE(key) << key.error().message();
    EXPECT_TRUE(ring_->run(file->truncate(header.payload_offset() + kSize)));
    return file;
  }
  static Luks1CreateOptions small() {
    return {.key_bits = 128, .mode = CipherMode::cbc, .iv = IvGenerator::essiv};
  }
  Result<std::unique_ptr<LuksImage>> open(std::unique_ptr<File> file, std::string_view passphrase,
                                          KeyCostLimits limits = {}) {
    const Secret secret = secret_of(passphrase);
    return ring_->run(LuksImage::open({.payload = std::move(file), .header = nullptr}, "image.luks",
                                      {.passphrase = &secret, .limits = limits}));
  }
  Luks1Header header_of(MemoryFile& file) {
    std::array<std::byte, sizeof(Luks1DiskHeader)> head{};
    EXPECT_TRUE(ring_->run(file.read(0, head)));
    return Luks1Header::parse(head, PayloadPlace::behind_header).value();
  }
  void overwrite(MemoryFile& file, std::uint64_t offset, std::span<const std::byte> bytes) {
    EXPECT_TRUE(ring_->run(file.write(offset, bytes)));
  }

  std::unique_ptr<Ring> ring_;
};

TEST_F(LuksImageTest, HoldsWhatIsWrittenAndHidesIt) {
  auto file = make();
  MemoryFile* const below = file.get();
  std::vector<std::byte> data(10'000, std::byte{'x'});
  {
    auto image = open(std::move(file), "pass").value();
    EXPECT_EQ(image->virtual_size(), kSize);
    EXPECT_EQ(image->format(), "luks");
    ASSERT_TRUE(ring_->run(image->write(777, data)));
    std::vector<std::byte> read(data.size());
    ASSERT_TRUE(ring_->run(image->read(777, read)));
    EXPECT_EQ(read, data);
    const auto mappings = ring_->run(image->map(0, kSize, 10)).value();
    ASSERT_EQ(mappings.size(), 1U);
    EXPECT_EQ(mappings[0].kind, MappingKind::data);
    EXPECT_EQ(mappings[0].length, kSize);
    EXPECT_EQ(mappings[0].file, &image->file());
    std::vector<std::byte> raw(2 * kMiB);
    ASSERT_TRUE(ring_->run(below->read(0, raw)));
    EXPECT_TRUE(std::ranges::search(raw, bytes_of("xxxxxxxx")).empty());
    ASSERT_TRUE(ring_->run(image->write_zeroes(0, 4096, ZeroMode::may_unmap)));
    ASSERT_TRUE(ring_->run(image->discard(0, 4096)));
    std::vector<std::byte> zeroes(4096);
    ASSERT_TRUE(ring_->run(image->read(0, std::span(read).first(4096))));
    EXPECT_TRUE(std::ranges::equal(std::span(read).first(4096), zeroes));
    EXPECT_EQ(ring_->run(image->read(kSize - 1, read)).error().kind(), ErrorKind::out_of_bounds);
    ASSERT_TRUE(ring_->run(image->close()));
  }
}

TEST_F(LuksImageTest, TellsItsHeaderWithoutAKey) {
  auto image = ring_->run(LuksImage::open({.payload = make(), .header = nullptr}, "a", {})).value();
  const LuksInfo& info = image->luks_info();
  EXPECT_EQ(info.cipher, "aes-128");
  EXPECT_EQ(info.mode, "cbc");
  EXPECT_EQ(info.iv_generator, "essiv");
  EXPECT_EQ(info.iv_hash, "sha256");
  EXPECT_EQ(info.uuid.size(), 36U);
  ASSERT_EQ(info.slots.size(), 8U);
  EXPECT_TRUE(info.slots[0].active && !info.slots[1].active);
  EXPECT_GE(info.slots[0].iterations, 1000U);
  EXPECT_TRUE(ring_->run(image->info())->encrypted);
  std::array<std::byte, 512> sector{};
  const auto refused = ring_->run(image->read(0, sector));
  EXPECT_EQ(refused.error().message(), "Parameter 'key-secret' is required for cipher");
  EXPECT_FALSE(ring_->run(image->map(0, 512, 1)));
  EXPECT_FALSE(ring_->run(image->write(0, sector)));
  EXPECT_FALSE(ring_->run(image->resize(kSize * 2, {})));
  EXPECT_TRUE(ring_->run(image->close()));
}

TEST_F(LuksImageTest, AWrongPassphraseOpensNothing) {
  for (const char* wrong : {"Pass", "pass ", "", "passpass"}) {
    const auto image = open(make(), wrong);
    ASSERT_FALSE(image);
    EXPECT_EQ(image.error().kind(), ErrorKind::permission);
    EXPECT_EQ(image.error().message(), "Invalid password, cannot unlock any keyslot");
  }
}

TEST_F(LuksImageTest, SlotsComeAndGo) {
  auto file = make();
  const HeaderPlace place{.file = *file};
  Luks1Header header = header_of(*file);
  const Secret key = std::move(ring_->run(unlock_luks1(place, header, bytes_of("pass"), {}))->key);
  ASSERT_TRUE(ring_->run(fill_slot(place, header, 5, key, bytes_of("other"), 1000)));
  header = header_of(*file);
  EXPECT_EQ(header.active_slots(), 2U);
  const auto unlocked = ring_->run(unlock_luks1(place, header, bytes_of("other"), {}));
  ASSERT_TRUE(unlocked);
  EXPECT_EQ(unlocked->slot, 5U);
  EXPECT_TRUE(unlocked->key.equals(key.view()));
  std::vector<std::byte> before(header.material_size());
  ASSERT_TRUE(ring_->run(file->read(header.material_offset(0), before)));
  ASSERT_TRUE(ring_->run(erase_slot(place, header, 0)));
  std::vector<std::byte> after(before.size());
  ASSERT_TRUE(ring_->run(file->read(header.material_offset(0), after)));
  EXPECT_NE(before, after);
  header = header_of(*file);
  EXPECT_EQ(header.active_slots(), 1U);
  EXPECT_EQ(std::uint32_t{header.slot(0).iterations}, 0U);
  EXPECT_FALSE(ring_->run(unlock_luks1(place, header, bytes_of("pass"), {})));
  EXPECT_TRUE(ring_->run(unlock_luks1(place, header, bytes_of("other"), {})));
}

TEST_F(LuksImageTest, AHeaderMayNotCostWhatItLikes) {
  auto file = make();
  Luks1DiskHeader disk = header_of(*file).disk();
  disk.slots[0].iterations = 0xffffffff;
  overwrite(*file, 0, std::as_bytes(std::span(&disk, 1)));
  const auto slot = open(std::move(file), "pass");
  ASSERT_FALSE(slot);
  EXPECT_EQ(slot.error().kind(), ErrorKind::too_large);
  file = make();
  disk = header_of(*file).disk();
  disk.master_key_iterations = 0xffffffff;
  overwrite(*file, 0, std::as_bytes(std::span(&disk, 1)));
  EXPECT_EQ(open(std::move(file), "pass").error().kind(), ErrorKind::too_large);
  EXPECT_EQ(open(make(), "pass", {.pbkdf2_iterations_max = 10}).error().kind(),
            ErrorKind::too_large);
}

TEST_F(LuksImageTest, ANewSlotAsksForNoMoreThanIsOpenedHere) {
  const Luks1Header header = plan_luks1(small()).value();
  constexpr std::uint32_t kMonth_ms = 30U * 24 * 3600 * 1000;
  EXPECT_EQ(ring_->run(slot_iterations(header, kMonth_ms)).value(),
            KeyCostLimits{}.pbkdf2_iterations_max);
  EXPECT_EQ(ring_->run(slot_iterations(header, 0)).value(), 1000U);
}

TEST_F(LuksImageTest, FilesThatEndTooSoonAreCorrupt) {
  auto file = make();
  const Luks1Header header = header_of(*file);
  ASSERT_TRUE(ring_->run(file->truncate(header.payload_offset() - 1)));
  EXPECT_EQ(open(std::move(file), "pass").error().kind(), ErrorKind::corrupt_image);
  file = make();
  ASSERT_TRUE(ring_->run(file->truncate(5000)));
  EXPECT_EQ(open(std::move(file), "pass").error().kind(), ErrorKind::corrupt_image);
  file = make();
  ASSERT_TRUE(ring_->run(file->truncate(100)));
  EXPECT_EQ(open(std::move(file), "pass").error().kind(), ErrorKind::unknown_format);
}

TEST_F(LuksImageTest, AHeaderMayLieElsewhere) {
  auto header_file = make();
  auto payload = std::make_unique<MemoryFile>("payload", kSize);
  MemoryFile* const below = payload.get();
  const Secret secret = secret_of("pass");
  auto image =
      ring_->run(LuksImage::open({.payload = std::move(payload), .header = std::move(header_file)},
                                 "a", {.passphrase = &secret}));
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ((*image)->virtual_size(), kSize);
  const std::vector<std::byte> data(512, std::byte{'y'});
  ASSERT_TRUE(ring_->run((*image)->write(0, data)));
  std::vector<std::byte> raw(512);
  ASSERT_TRUE(ring_->run(below->read(0, raw)));
  EXPECT_NE(raw, data);
  EXPECT_NE(raw, std::vector<std::byte>(512));
  ASSERT_TRUE(ring_->run((*image)->close()));
}

TEST_F(LuksImageTest, GrowsAndShrinksByItsPayload) {
  auto file = make();
  MemoryFile* const below = file.get();
  const std::uint64_t offset = header_of(*file).payload_offset();
  auto image = open(std::move(file), "pass").value();
  const std::vector<std::byte> data(512, std::byte{'z'});
  ASSERT_TRUE(ring_->run(image->write(0, data)));
  ASSERT_TRUE(ring_->run(image->resize(3 * kMiB, {})));
  EXPECT_EQ(image->virtual_size(), 3 * kMiB);
  EXPECT_EQ(ring_->run(below->size()).value(), offset + 3 * kMiB);
  ASSERT_TRUE(ring_->run(image->write(3 * kMiB - 512, data)));
  ASSERT_TRUE(ring_->run(image->resize(512, {})));
  std::vector<std::byte> read(512);
  ASSERT_TRUE(ring_->run(image->read(0, read)));
  EXPECT_EQ(read, data);
  EXPECT_EQ(ring_->run(image->resize(kMaxFileSize - 512, {})).error().kind(), ErrorKind::too_large);
  ASSERT_TRUE(ring_->run(image->close()));
}

// The header and a slot's material changed at random: an error, or the image; never anything else.
TEST_F(LuksImageTest, MutantsOpenOrDoNot) {
  std::minstd_rand random(7);
  const auto file = make();
  const Luks1Header header = header_of(*file);
  std::vector<std::byte> all(header.payload_offset() + 4096);
  ASSERT_TRUE(ring_->run(file->read(0, all)));
  const std::uint64_t material_end = header.material_offset(0) + header.material_size();
  unsigned opened = 0;
  for (int round = 0; round < 400; ++round) {
    auto mutant = std::make_unique<MemoryFile>("mutant.luks");
    overwrite(*mutant, 0, all);
    for (unsigned i = 0; i <= random() % 3; ++i) {
      const std::uint64_t end = round % 2 == 0 ? sizeof(Luks1DiskHeader) : material_end;
      const std::byte changed = static_cast<std::byte>(random());
      overwrite(*mutant, random() % end, {&changed, 1});
    }
    const auto image = open(std::move(mutant), "pass", {.pbkdf2_iterations_max = 100'000});
    if (!image) {
      EXPECT_FALSE(image.error().message().empty());
      continue;
    }
    ++opened;
    std::array<std::byte, 512> sector{};
    (void)ring_->run((*image)->read(0, sector));
    ASSERT_TRUE(ring_->run((*image)->close()));
  }
  EXPECT_GT(opened, 10U);  // the unused slots' salts, and so on
}

}  // namespace
}  // namespace platter::luks
