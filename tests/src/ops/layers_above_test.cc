#include "src/ops/layers_above.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "src/ops/mapping_cursor.h"
#include "tests/src/ops/chain_rig.h"

namespace platter::test {
namespace {

constexpr std::uint64_t kCluster = 4096;

// Of 64, 32 and 96 clusters, from the bottom up; each holds one cluster, or zeroes, of its own.
class Layers : public FileTest {
 protected:
  Layers() : rig_(*ring_, folder_.path(), specs(), 1) {}

  static std::vector<LayerSpec> specs() {
    std::vector<LayerSpec> all = {layer("root", 64 * kCluster), layer("mid", 32 * kCluster),
                                  layer("top", 96 * kCluster)};
    for (LayerSpec& spec : all) spec.writes = 0;
    return all;
  }
  // "d", "z", "." (left to the layer below) for each of the first clusters.
  static Task<std::string> map_all(Image& image) {
    std::string text;
    MappingCursor cursor(&image);
    for (std::uint64_t at = 0; at < image.virtual_size();) {
      const Mapping run = co_await cursor.at(at);
      const char kind = run.kind == MappingKind::data   ? 'd'
                        : run.kind == MappingKind::zero ? 'z'
                                                        : '.';
      text.append(run.length / kCluster, kind);
      at += run.length;
    }
    co_return text;
  }
  static Task<std::string> look(const ChainRig& rig, Files files, unsigned base_depth) {
    const auto top = co_await rig.open(std::move(files), {true, true, true});
    const Bytes data(kCluster, std::byte{1});
    co_await top->write(2 * kCluster, data);
    co_await top->backing()->write(4 * kCluster, data);
    co_await top->backing()->write_zeroes(5 * kCluster, kCluster, ZeroMode::may_unmap);
    co_await top->backing()->backing()->write(6 * kCluster, data);
    Image* base = top.get();
    for (unsigned i = 0; i < base_depth; ++i) base = base->backing();
    LayersAbove layers(*top, *base);
    std::string text = co_await map_all(layers);
    co_await top->close();
    co_return text;
  }
  std::string look(unsigned base_depth) {
    LiveChain chain(rig_.disks(), 1);
    return run(look(rig_, chain.shared(), base_depth)).value();
  }

  ChainRig rig_;
};

TEST_F(Layers, AboveTheBackingImageIsWhatTheOverlayHoldsAloneAndZeroesBehindItsEnd) {
  EXPECT_EQ(look(1), "..d" + std::string(29, '.') + std::string(64, 'z'));
}

TEST_F(Layers, WhatAShortLayerHidesIsZeroes) {
  EXPECT_EQ(look(2), "..d.dz" + std::string(26, '.') + std::string(64, 'z'));
}

TEST_F(Layers, PastItsEndAnImageHoldsNothing) {
  MappingCursor none(nullptr);
  const Mapping run = ring_->run(none.at(5)).value();
  EXPECT_EQ(run.kind, MappingKind::unallocated);
  EXPECT_EQ(run.offset, 5U);
  EXPECT_GT(run.length, std::uint64_t{1} << 62);
}

}  // namespace
}  // namespace platter::test
