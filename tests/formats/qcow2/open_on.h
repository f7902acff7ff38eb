// Opening images on files of the tests' own.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "formats/qcow2/qcow2_image.h"
#include "formats/raw/raw_image.h"
#include "io/bytes.h"
#include "io/memory_file.h"

namespace platter::qcow2 {

/// `backing`: what a raw backing file holds; empty: there is none. `data`: the external data file.
inline Task<std::unique_ptr<Qcow2Image>> open_on(std::unique_ptr<File> file,
                                                 std::unique_ptr<File> data,
                                                 std::vector<std::byte> backing, bool writable) {
  auto image = co_await Qcow2Image::open(std::move(file), "image", 4 * kMiB);
  std::unique_ptr<Image> below;
  if (!backing.empty()) {
    auto memory = std::make_unique<MemoryFile>("backing");
    co_await memory->write(0, backing);
    below = co_await RawImage::open(std::move(memory), "backing");
  }
  co_await image->connect(std::move(below), std::move(data), writable);
  co_return image;
}

}  // namespace platter::qcow2
