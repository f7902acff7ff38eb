#include "src/provision/file_source.h"

#include <utility>

#include "io/direct_file.h"
#include "src/provision/fetch_sink.h"

namespace platter::provision {
namespace {

class FileSource final : public TemplateSource {
 public:
  explicit FileSource(std::string path) : path_(std::move(path)) {}

  const std::string& name() const noexcept override { return path_; }
  std::optional<std::string> local_path() const override { return path_; }
  Task<FetchResult> fetch(File& target, FetchOptions options) override;

 private:
  std::string path_;
};

// What comes next.
struct FileReader {
  File& file;
  std::uint64_t at = 0;

  Task<std::size_t> read(std::span<std::byte> into) {
    const std::size_t count = co_await file.read(at, into);
    at += count;
    co_return count;
  }
};

Task<FetchResult> copy_all(File& source, File& target, const FetchOptions& options) {
  FetchSink sink(target, options, source.name());
  const std::uint64_t size = co_await source.size();
  co_await sink.check_size(size);
  if (options.progress != nullptr) options.progress->set_total(size);
  co_await sink.begin(0);
  FileReader reader{source};
  const FetchSink::Read read = [&reader](std::span<std::byte> into) { return reader.read(into); };
  co_await sink.take(read);
  co_return co_await sink.finish();
}

Task<FetchResult> FileSource::fetch(File& target, FetchOptions options) {
  const std::unique_ptr<DirectFile> source = co_await DirectFile::open(path_, FileOptions{});
  Result<FetchResult> done = co_await copy_all(*source, target, options).result();
  const Result<void> closed = co_await source->close().result();
  FetchResult result = co_await std::move(done);
  if (!closed) co_await fail(closed.error().clone());
  co_return result;
}

}  // namespace

std::unique_ptr<TemplateSource> file_source(std::string path) {
  return std::make_unique<FileSource>(std::move(path));
}

}  // namespace platter::provision
