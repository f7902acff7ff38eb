#include "formats/qcow2/table_writer.h"

#include <cstring>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "tests/support/faulty_file.h"

namespace platter::qcow2 {
namespace {

using test::Fault;
using test::FaultPlan;
using test::FaultyFile;
using test::FileOperation;

// One table: where, how long, and the byte that fills it.
struct Table {
  std::uint64_t offset;
  std::uint64_t length;
  std::byte fill;
};

Task<void> write_all(File& file, std::vector<Table> tables, const CancelToken* cancel) {
  auto add = [&](TaskGroup& group) -> Task<void> {
    TableWriter writer(file, group, cancel);
    for (const Table& table : tables) {
      const auto fill = [&](std::uint64_t /*position*/, std::span<std::byte> into) {
        std::memset(into.data(), static_cast<int>(table.fill), into.size());
      };
      co_await writer.add(table.offset, table.length, fill);
    }
    co_await writer.finish();
  };
  co_await with_group(TableWriter::kInFlight, add);
}

class Qcow2TableWriter : public testing::Test {
 protected:
  std::unique_ptr<Ring> ring_ = Ring::create().value();
};

TEST_F(Qcow2TableWriter, WhatFollowsOnEachOtherIsWrittenAtOnce) {
  FaultPlan plan;
  FaultyFile file(std::make_unique<MemoryFile>(), plan);
  ASSERT_TRUE(ring_->run(write_all(file,
                                   {{0, 512, std::byte{1}},
                                    {512, 512, std::byte{2}},
                                    {1024, 8, std::byte{3}},
                                    {kMiB, 512, std::byte{4}}},
                                   nullptr)));
  EXPECT_EQ(plan.count(FileOperation::write), 2U);
  std::vector<std::byte> bytes(1032);
  EXPECT_EQ(ring_->run(file.read(0, bytes)).value(), bytes.size());
  EXPECT_EQ(bytes[511], std::byte{1});
  EXPECT_EQ(bytes[512], std::byte{2});
  EXPECT_EQ(bytes[1031], std::byte{3});
  EXPECT_EQ(ring_->run(file.size()).value(), kMiB + 512);
}

TEST_F(Qcow2TableWriter, ALargeTableIsFilledPartByPart) {
  MemoryFile file;
  auto add = [&](TaskGroup& group) -> Task<void> {
    TableWriter writer(file, group, nullptr);
    const auto fill = [](std::uint64_t position, std::span<std::byte> into) {
      for (std::size_t at = 0; at < into.size(); at += sizeof(be64)) {
        const be64 value = position + at;
        std::memcpy(into.data() + at, &value, sizeof value);
      }
    };
    co_await writer.add(4096, 3 * kMiB + 512, fill);
    co_await writer.finish();
  };
  ASSERT_TRUE(ring_->run(with_group(TableWriter::kInFlight, add)));
  for (const std::uint64_t at : {std::uint64_t{0}, 64 * kKiB, kMiB + 8, 3 * kMiB + 504}) {
    be64 value;
    std::array<std::byte, sizeof value> raw{};
    ASSERT_EQ(ring_->run(file.read(4096 + at, raw)).value(), raw.size());
    std::memcpy(&value, raw.data(), sizeof value);
    EXPECT_EQ(value, at);
  }
}

TEST_F(Qcow2TableWriter, WithoutAFillItIsZeroes) {
  MemoryFile file;
  std::vector<std::byte> ones(4096, std::byte{1});
  ASSERT_TRUE(ring_->run(file.write(0, ones)));
  auto add = [&](TaskGroup& group) -> Task<void> {
    TableWriter writer(file, group, nullptr);
    co_await writer.add(0, 4000, nullptr);
    co_await writer.finish();
  };
  ASSERT_TRUE(ring_->run(with_group(TableWriter::kInFlight, add)));
  ASSERT_TRUE(ring_->run(file.read(0, ones)));
  EXPECT_EQ(ones[3999], std::byte{0});
  EXPECT_EQ(ones[4000], std::byte{1});
}

TEST_F(Qcow2TableWriter, AFailedWriteEndsIt) {
  FaultPlan plan;
  plan.at(FileOperation::write, 1, Fault::fails(ENOSPC));
  FaultyFile file(std::make_unique<MemoryFile>(), plan);
  const Result<void> done = ring_->run(write_all(file, {{0, 64 * kMiB, std::byte{1}}}, nullptr));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind(), ErrorKind::no_space);
  EXPECT_LT(plan.count(FileOperation::write), 64U) << "it stops soon";
}

TEST_F(Qcow2TableWriter, CancelledItEndsBetweenWrites) {
  CancelToken cancel;
  cancel.request();
  MemoryFile file;
  const Result<void> done = ring_->run(write_all(file, {{0, kMiB, std::byte{1}}}, &cancel));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind(), ErrorKind::cancelled);
}

}  // namespace
}  // namespace platter::qcow2
