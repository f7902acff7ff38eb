// One base image on its way into the cache. Internal to base_cache.
#pragma once

#include <string>

#include "io/cancel.h"
#include "io/task.h"
#include "src/ops/progress.h"
#include "src/provision/config.h"
#include "src/provision/folder.h"
#include "src/provision/image_backend.h"

namespace platter::provision {

struct BaseFetch {
  const BaseRequest& request;
  const Folder& bases;
  const Config& config;
  Progress* progress = nullptr;
  const CancelToken* cancel = nullptr;
};

/// Fetches, checks, converts, and gives the file its name; durable then. On an error nothing is left but
/// what a later fetch can go on with. REQUIRES: the base's lock is held; request.source.
Task<void> fetch_base(BaseFetch fetch);

/// A base's format as its users must be told it, of what an inspection found ("gpt" is raw).
/// Errors: refused_by_policy (the first finding that is unsafe), unknown_format.
Task<std::string> safe_format(int fd, std::string path, std::string declared, const Config& config,
                              const CancelToken* cancel);

}  // namespace platter::provision
