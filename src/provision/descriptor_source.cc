#include "src/provision/descriptor_source.h"

#include <utility>

#include "io/pipe.h"
#include "src/provision/fetch_sink.h"

namespace platter::provision {
namespace {

class DescriptorSource final : public TemplateSource {
 public:
  explicit DescriptorSource(std::unique_ptr<PipeReader> reader) : reader_(std::move(reader)) {}

  const std::string& name() const noexcept override { return reader_->name(); }
  Task<FetchResult> fetch(File& target, FetchOptions options) override;

 private:
  std::unique_ptr<PipeReader> reader_;
  bool used_ = false;
};

Task<FetchResult> DescriptorSource::fetch(File& target, FetchOptions options) {
  if (std::exchange(used_, true)) {
    co_await fail(ErrorKind::invalid_argument, "'" + name() + "' was read already");
  }
  FetchSink sink(target, options, name());
  co_await sink.begin(0);
  const FetchSink::Read read = [this, cancel = options.cancel](std::span<std::byte> into) {
    return reader_->read(into, cancel);
  };
  co_await sink.take(read);
  co_return co_await sink.finish();
}

}  // namespace

Result<std::unique_ptr<TemplateSource>> descriptor_source(UniqueFd fd, std::string name) {
  auto reader = PipeReader::make(std::move(fd), std::move(name));
  if (!reader) return fail(std::move(reader.error()));
  return std::make_unique<DescriptorSource>(*std::move(reader));
}

}  // namespace platter::provision
