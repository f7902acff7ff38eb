// Where the bytes of a base image come from: a file, a pipe, a server.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>

#include "io/cancel.h"
#include "io/file.h"
#include "io/task.h"
#include "src/ops/progress.h"
#include "src/provision/expected_digest.h"

namespace platter::provision {

/// What a fetch may take, and what it must bring.
struct FetchLimits {
  std::uint64_t size_max = std::numeric_limits<std::uint64_t>::max();  ///< bytes
  std::optional<ExpectedDigest> digest;
  /// What follows is for servers.
  unsigned redirects_max = 5;
  unsigned tries = 3;  ///< a connection that breaks is made again, from where it broke if it can be
  std::chrono::milliseconds connect_timeout = std::chrono::seconds(30);
  std::chrono::milliseconds stall_timeout = std::chrono::seconds(60);  ///< without a single byte
};

/// How far an earlier fetch into the same file came, possibly of another process.
struct ResumePoint {
  /// The target's first bytes that it wrote. 0: nothing, or not to be trusted.
  std::uint64_t bytes = 0;
  /// The version that they are of: opaque, made by the source. Empty: no way to tell, so all is
  /// fetched anew.
  std::string validator;
};

struct FetchOptions {
  FetchLimits limits;
  ResumePoint resume;
  /// Told before the first byte of a version is written: whoever keeps it beside the partial file can
  /// resume after this process is gone. An empty one: this version can't be resumed. An error ends the
  /// fetch.
  std::function<Result<void>(const std::string& validator)> on_validator;
  Progress* progress = nullptr;  ///< bytes of the template, those resumed included
  const CancelToken* cancel = nullptr;
};

struct FetchResult {
  std::uint64_t size = 0;     ///< of the template, in bytes; of the target, too, if it is a file
  std::uint64_t resumed = 0;  ///< how many of them were there already
  std::string digest;         ///< hexadecimal digits, if one was expected
};

/// One template. Belongs to its ring's thread; one fetch at a time.
class TemplateSource {
 public:
  TemplateSource() = default;
  virtual ~TemplateSource() = default;
  TemplateSource(const TemplateSource&) = delete;
  TemplateSource& operator=(const TemplateSource&) = delete;

  /// For messages: no password, no query, nothing of a URL that could be a token.
  virtual const std::string& name() const noexcept = 0;
  /// A path of this machine to be opened in place of a fetch: nothing has to be copied first, and
  /// blocks can be shared. No digest has been looked at then.
  virtual std::optional<std::string> local_path() const { return std::nullopt; }
  /// True if a later fetch may be able to go on where one ended.
  virtual bool resumable() const noexcept { return false; }

  /// Fills `target`, which is open for writing, from its start; what it holds behind a resume point is
  /// given up. Runs of zeroes become holes. The digest is computed on the way, over bytes resumed too.
  /// Does not flush. On an error the target holds any part, and may be resumed.
  ///
  /// Errors: those of both sides, by name; too_large (more than size_max, told before any of it is
  /// fetched where the source knows), wrong_digest, refused_by_policy (a redirect to where none may
  /// lead, or too many), not_found, permission, timed_out, cancelled, invalid_argument (a pipe that
  /// was read already).
  virtual Task<FetchResult> fetch(File& target, FetchOptions options) = 0;
};

}  // namespace platter::provision
