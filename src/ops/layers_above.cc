#include "src/ops/layers_above.h"

#include "io/check.h"

namespace platter {

LayersAbove::LayersAbove(Image& top, const Image& base) : top_(top), base_(base) {
  for (Image* layer = &top; layer != &base; layer = layer->backing()) {
    PLATTER_CHECK(layer != nullptr);
    ++base_depth_;
  }
}

Task<std::vector<Mapping>> LayersAbove::map(std::uint64_t offset, std::uint64_t length,
                                            std::size_t count_max) {
  std::vector<Mapping> mappings = co_await top_.map_chain(offset, length, count_max, &base_);
  for (Mapping& mapping : mappings) {
    const bool hidden = mapping.kind == MappingKind::unallocated && mapping.depth < base_depth_;
    if (hidden) mapping.kind = MappingKind::zero;
    mapping.depth = 0;
  }
  co_return mappings;
}

}  // namespace platter
