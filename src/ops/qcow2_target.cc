#include "src/ops/qcow2_target.h"

#include <algorithm>
#include <utility>

#include "formats/qcow2/header_sector.h"
#include "formats/reference.h"

namespace platter {

Task<Target> Qcow2Target::open_new(std::string name, std::vector<FileId> others) const {
  Target target = co_await open_target(std::move(name), cache_, durability_, options_.lookup);
  const auto id = target.file->id();
  if (id && std::ranges::find(others, *id) != others.end()) {
    co_return fail(ErrorKind::in_use,
                   "'" + target.file->name() + "' is in the backing chain of the new image");
  }
  co_return target;
}

Task<void> Qcow2Target::begin() {
  qcow2::CreatePlan plan = co_await make_plan();  // before an existing file is touched
  image_ = co_await open_new(options_.filename, options_.sources);
  image_file_ = image_.file.get();
  plan.options.in_place = image_.unpublished == nullptr;
  if (plan.options.data_file) co_await open_data_file();
  if (plan.options.in_place && !image_file_->traits().is_block_device) {
    co_await qcow2::invalidate_image(*image_file_);  // a device's, when its size is known to do
  }
  for (DirectFile* file : {image_file_, data_file_}) {
    if (file != nullptr) co_await clear_target(*file, options_.attributes);
  }
  co_await qcow2::create_qcow2(*image_file_, data_file_, plan);
}

Result<qcow2::CreatePlan> Qcow2Target::make_plan() const {
  qcow2::CreateOptions options = options_.qcow2;
  options.size = options_.size;
  options.preallocation = options_.preallocation;
  options.cancel = options_.cancel;
  if (options.data_file) {
    Result<std::string> path = plain_path(*std::move(options.data_file));
    if (!path) return fail(std::move(path.error()));
    options.data_file = *std::move(path);
  }
  return qcow2::plan_image(std::move(options));
}

Task<void> Qcow2Target::open_data_file() {
  std::vector<FileId> others = options_.sources;
  if (const auto id = image_file_->id()) others.push_back(*id);
  data_ = co_await open_new(*options_.qcow2.data_file, std::move(others));
  data_file_ = data_.file.get();
  if (image_.unpublished && data_.unpublished &&
      data_.unpublished->same_name_as(*image_.unpublished)) {
    co_await fail(ErrorKind::in_use,
                  "'" + data_file_->name() + "' can't be the image and its data file");
  }
}

Task<std::unique_ptr<qcow2::Qcow2Image>> Qcow2Target::open(std::unique_ptr<Image> backing) {
  auto image = co_await qcow2::Qcow2Image::open(std::move(image_.file), options_.filename,
                                                options_.memory_max);
  if (!image_.unpublished) {
    co_await set_magic(0);
    hidden_ = true;
  }
  co_await image->connect(std::move(backing), std::move(data_.file), /*writable=*/true);
  co_return image;
}

Task<void> Qcow2Target::set_magic(std::uint32_t magic) {
  return qcow2::change_header(*image_file_,
                              [magic](qcow2::DiskHeader& header) { header.magic = magic; });
}

// The image is whole only with its data.
Task<void> Qcow2Target::complete() {
  if (data_file_ != nullptr) co_await complete_target(data_.unpublished.get(), *data_file_);
  Result<void> done = co_await complete_target(image_.unpublished.get(), *image_file_).result();
  if (!done && data_.unpublished) data_.unpublished->withdraw(*data_file_);
  co_await std::move(done);
  if (hidden_) co_await set_magic(qcow2::kMagic);
}

Task<void> Qcow2Target::close() {
  if (data_.file) co_await data_.file->close();
  co_await image_.file->close();
}

}  // namespace platter
