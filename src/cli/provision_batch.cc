#include "src/cli/provision_batch.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <sstream>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/task_group.h"
#include "io/unique_fd.h"
#include "src/cli/disk_report.h"

namespace platter::cli {
namespace {

using provision::DiskReport;
using provision::DiskRequest;
using provision::ImageBackend;
using Json = nlohmann::ordered_json;

constexpr std::size_t kAtOnce = 16;
constexpr std::size_t kTextMax = std::size_t{64} << 20;

Result<std::string> read_all(const std::string& file) {
  const bool standard = file == "-";
  const std::string name = standard ? "standard input" : file;
  const UniqueFd own(standard ? -1 : ::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!standard && !own) return fail_errno(errno, "open", name);
  std::string text;
  std::array<char, 65536> piece{};
  for (;;) {
    const ssize_t count = ::read(standard ? STDIN_FILENO : own.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, "read", name);
    if (count == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(count));
    if (text.size() > kTextMax) {
      return fail(ErrorKind::too_large, fmt::format("'{}' has more than {} bytes", name, kTextMax));
    }
  }
}

Result<DiskRequest> read_line(const std::string& line, const DiskRequest& common) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  DiskRequest request = common;
  std::string instance;
  std::string disk;
  if (!json.is_object()) return fail(ErrorKind::invalid_argument, "a JSON object is expected");
  for (const auto& [key, value] : json.items()) {
    if (key == "instance" && value.is_string()) {
      instance = value.get<std::string>();
    } else if (key == "disk" && value.is_string()) {
      disk = value.get<std::string>();
    } else if (key == "size" && value.is_number_unsigned()) {
      request.size = value.get<std::uint64_t>();
    } else {
      return fail(ErrorKind::invalid_argument,
                  fmt::format("'{}' is unknown, or of a wrong type", key));
    }
  }
  Result<provision::DiskName> name = provision::DiskName::parse(instance, disk);
  if (!name) return fail(std::move(name.error()));
  request.name = *std::move(name);
  return request;
}

Result<std::vector<DiskRequest>> read_requests(const std::string& file, const DiskRequest& common) {
  const Result<std::string> text = read_all(file);
  if (!text) return fail(text.error().clone());
  std::vector<DiskRequest> requests;
  std::istringstream lines(*text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.empty()) continue;
    Result<DiskRequest> request = read_line(line, common);
    if (!request) {
      return fail(std::move(request.error()).with_context(fmt::format("{}:{}", file, number)));
    }
    requests.push_back(*std::move(request));
  }
  return requests;
}

struct Batch {
  Context& context;
  ImageBackend& backend;
  const BatchOptions& options;
  bool failed = false;
};

void print_line(Batch& batch, const provision::DiskName& name, const Result<DiskReport>& report) {
  Json json;
  if (report) {
    json = disk_json(name, batch.backend.kind(), *report, batch.options.planned);
  } else {
    batch.failed = true;
    batch.context.error(report.error());
    json = {{"instance", name.instance},
            {"disk", name.disk},
            {"error", to_string(report.error().kind())},
            {"message", report.error().message()}};
  }
  if (batch.options.quiet) return;
  batch.context.print(json.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace) +
                      "\n");
}

Task<void> make_disk(Batch& batch, DiskRequest request) {
  const provision::DiskName name = request.name;
  Task<DiskReport> task = batch.options.planned ? batch.backend.plan(std::move(request))
                                                : batch.backend.provision(std::move(request));
  const Result<DiskReport> report = co_await std::move(task).result();
  print_line(batch, name, report);
}

Task<void> make_disks(Batch& batch, std::vector<DiskRequest> requests) {
  TaskGroup group(kAtOnce);
  for (DiskRequest& request : requests) {
    if (batch.context.cancel().requested()) break;
    co_await group.spawn(make_disk(batch, std::move(request)));
  }
  co_await group.join();
  co_await batch.context.cancel().check();
}

}  // namespace

int provision_batch(Context& context, ImageBackend& backend, const DiskRequest& common,
                    const BatchOptions& options) {
  Result<std::vector<DiskRequest>> requests = read_requests(options.file, common);
  if (!requests) return context.fail_with(requests.error());
  for (DiskRequest& request : *requests) request.cancel = &context.cancel();
  Batch batch{.context = context, .backend = backend, .options = options};
  const Result<void> done = context.run(make_disks(batch, *std::move(requests)));
  if (!done) return context.fail_with(done.error());
  return batch.failed ? kExitError : kExitOk;
}

}  // namespace platter::cli
