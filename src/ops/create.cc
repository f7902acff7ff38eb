#include "src/ops/create.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "formats/qcow2/create.h"
#include "formats/raw/raw_create.h"
#include "formats/reference.h"
#include "src/ops/target.h"

namespace platter {
namespace {

Task<Target> open_new(std::string name, const std::vector<FileId>& sources) {
  Target target =
      co_await open_target(std::move(name), CacheUse::direct_if_possible, Durability::on_flush);
  const auto id = target.file->id();
  if (id && std::ranges::find(sources, *id) != sources.end()) {
    co_return fail(ErrorKind::in_use,
                   "'" + target.file->name() + "' is in the backing chain of the new image");
  }
  co_return target;
}

Task<void> create_raw_image(const CreateOptions& options) {
  Target target = co_await open_new(options.filename, options.sources);
  DirectFile& file = *target.file;
  co_await clear_target(file, options.attributes);
  const ResizeOptions layout{.preallocation = options.preallocation, .cancel = options.cancel};
  co_await create_raw(file, options.size, layout);
  co_await complete_target(target.unpublished.get(), file);
  co_await file.close();
}

// The image and, where it is to have one, its data file.
class Qcow2Creation {
 public:
  explicit Qcow2Creation(const CreateOptions& options) : options_(options) {}
  Task<void> run();

 private:
  Result<qcow2::CreatePlan> make_plan() const;
  Task<void> open_data_file();
  Task<void> complete();

  const CreateOptions& options_;
  Target image_;
  Target data_;
};

Task<void> Qcow2Creation::run() {
  qcow2::CreatePlan plan = co_await make_plan();  // before an existing file is touched
  image_ = co_await open_new(options_.filename, options_.sources);
  plan.options.in_place = image_.unpublished == nullptr;
  if (plan.options.data_file) co_await open_data_file();
  for (const Target* target : {&image_, &data_}) {
    if (target->file) co_await clear_target(*target->file, options_.attributes);
  }
  co_await qcow2::create_qcow2(*image_.file, data_.file.get(), plan);
  co_await complete();
  if (data_.file) co_await data_.file->close();
  co_await image_.file->close();
}

Result<qcow2::CreatePlan> Qcow2Creation::make_plan() const {
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

Task<void> Qcow2Creation::open_data_file() {
  std::vector<FileId> others = options_.sources;
  if (const auto id = image_.file->id()) others.push_back(*id);
  data_ = co_await open_new(*options_.qcow2.data_file, others);
  if (image_.unpublished && data_.unpublished &&
      data_.unpublished->same_name_as(*image_.unpublished)) {
    co_await fail(ErrorKind::in_use,
                  "'" + data_.file->name() + "' can't be the image and its data file");
  }
}

// The image is whole only with its data.
Task<void> Qcow2Creation::complete() {
  if (data_.file) co_await complete_target(data_.unpublished.get(), *data_.file);
  Result<void> done = co_await complete_target(image_.unpublished.get(), *image_.file).result();
  if (!done && data_.unpublished) data_.unpublished->withdraw(*data_.file);
  co_await std::move(done);
}

}  // namespace

Task<void> create_image(CreateOptions options) {
  if (options.format == "raw") {
    co_await create_raw_image(options);
    co_return;
  }
  if (options.format != "qcow2") {
    co_await fail(ErrorKind::unknown_format, "Unknown file format '" + options.format + "'");
  }
  Qcow2Creation creation(options);
  co_await creation.run();
}

}  // namespace platter
