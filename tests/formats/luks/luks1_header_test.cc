#include "formats/luks/luks1_header.h"

#include <array>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "formats/luks/luks1_create.h"

namespace platter::luks {
namespace {

Luks1DiskHeader good_header() {
  Luks1DiskHeader disk = plan_luks1({}).value().disk();
  disk.master_key_iterations = 1000;
  disk.slots[0].active = kSlotActive;
  disk.slots[0].iterations = 1000;
  return disk;
}

Result<Luks1Header> parse(const Luks1DiskHeader& disk,
                          PayloadPlace payload = PayloadPlace::behind_header) {
  return Luks1Header::parse(std::as_bytes(std::span(&disk, 1)), payload);
}

std::string why(const Luks1DiskHeader& disk) {
  const auto parsed = parse(disk);
  return parsed ? "" : parsed.error().message();
}

TEST(Luks1Header, NewOnesLieAsQemuLaysThem) {
  const Luks1Header header = parse(good_header()).value();
  EXPECT_EQ(header.key_size(), 64U);
  EXPECT_EQ(header.material_offset(0), 4096U);
  EXPECT_EQ(header.material_offset(1), 262144U);
  EXPECT_EQ(header.payload_offset(), 2068480U);
  EXPECT_EQ(header.spec(), CipherSpec());
  EXPECT_EQ(header.active_slots(), 1U);
  const Luks1Header small = plan_luks1({.key_bits = 128, .mode = CipherMode::cbc}).value();
  EXPECT_EQ(small.material_offset(1) - small.material_offset(0), 65536U);
}

TEST(Luks1Header, WhatCantBeIsAnErrorInQemusWords) {
  using Change = void (*)(Luks1DiskHeader&);
  struct Case {
    Change change;
    const char* message;
  };
  const Case cases[] = {
      {[](auto& h) { h.magic[0] = 'l'; }, "Volume is not in LUKS format"},
      {[](auto& h) { h.version = 3; }, "LUKS version 3 is not supported"},
      {[](auto& h) { std::memset(h.cipher_name, 'a', 32); },
       "LUKS header cipher name is not NUL terminated"},
      {[](auto& h) { std::memset(h.cipher_mode, 'a', 32); },
       "LUKS header cipher mode is not NUL terminated"},
      {[](auto& h) { std::memset(h.hash_spec, 'a', 32); },
       "LUKS header hash spec is not NUL terminated"},
      {[](auto& h) { std::strcpy(h.cipher_mode, "xts"); },
       "Unexpected cipher mode string format 'xts'"},
      {[](auto& h) { std::strcpy(h.cipher_mode, "cbc-essiv"); },
       "Missing IV generator hash specification"},
      {[](auto& h) { std::strcpy(h.hash_spec, "tiger"); },
       "Hash algorithm 'tiger' is not recognized"},
      {[](auto& h) { std::strcpy(h.cipher_name, "rot13"); },
       "Cipher 'rot13-xts-plain64' is not supported"},
      {[](auto& h) { h.payload_offset_sector = 7; }, "LUKS payload is overlapping with the header"},
      {[](auto& h) { h.payload_offset_sector = 4039; },
       "Keyslot 7 is overlapping with the encrypted payload"},
      {[](auto& h) { h.master_key_len = 0xffffffff; },
       "Keyslot 0 is overlapping with the encrypted payload"},
      {[](auto& h) { h.master_key_len = 60; }, "Cipher 'aes-xts-plain64' has no keys of 60 bytes"},
      {[](auto& h) { h.master_key_iterations = 0; }, "LUKS key iteration count is zero"},
      {[](auto& h) { h.slots[3].active = 1; }, "Keyslot 3 state (active/disable) is corrupted"},
      {[](auto& h) { h.slots[3].stripes = 4001; }, "Keyslot 3 is corrupted (stripes 4001 != 4000)"},
      {[](auto& h) { h.slots[0].iterations = 0; }, "Keyslot 0 iteration count is zero"},
      {[](auto& h) { h.slots[0].key_offset_sector = 7; },
       "Keyslot 0 is overlapping with the LUKS header"},
      {[](auto& h) { h.slots[3].key_offset_sector = 9; },
       "Keyslots 0 and 3 are overlapping in the header"},
      {[](auto& h) { h.slots[3].key_offset_sector = 0xffffffff; },
       "Keyslot 3 is overlapping with the encrypted payload"},
  };
  for (const Case& bad : cases) {
    Luks1DiskHeader disk = good_header();
    bad.change(disk);
    EXPECT_EQ(why(disk), bad.message);
  }
  std::array<std::byte, 591> cut{};
  EXPECT_EQ(Luks1Header::parse(cut, PayloadPlace::behind_header).error().kind(),
            ErrorKind::unknown_format);
}

TEST(Luks1Header, ADetachedOneNeedsNoPayload) {
  Luks1DiskHeader disk = good_header();
  disk.payload_offset_sector = 0;
  EXPECT_FALSE(parse(disk));
  EXPECT_TRUE(parse(disk, PayloadPlace::own_file));
}

// Whatever the bytes are: an error, or figures within their bounds.
TEST(Luks1Header, MutantsStayWithinBounds) {
  std::minstd_rand random(5);
  for (int round = 0; round < 20'000; ++round) {
    Luks1DiskHeader disk = good_header();
    const auto bytes = std::as_writable_bytes(std::span(&disk, 1));
    const unsigned changes = 1 + random() % 4;
    for (unsigned i = 0; i < changes; ++i) {
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    }
    const auto parsed = parse(disk);
    if (!parsed) {
      EXPECT_FALSE(parsed.error().message().empty());
      continue;
    }
    EXPECT_LE(parsed->key_size(), 64U);
    EXPECT_EQ(parsed->key_size(), parsed->spec().key_size());
    for (unsigned slot = 0; slot < kSlots; ++slot) {
      EXPECT_LE(parsed->material_offset(slot) + parsed->material_size(), parsed->payload_offset());
    }
    EXPECT_LE(parsed->uuid().size(), 40U);
  }
}

}  // namespace
}  // namespace platter::luks
