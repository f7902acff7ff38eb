// Templates from servers: http and https.
#pragma once

#include <memory>
#include <string>

#include "src/provision/http_headers.h"
#include "src/provision/template_source.h"

namespace platter::provision {

struct HttpOptions {
  /// Go to the server that the URL names, and not to another one that it redirects to.
  HttpHeaders headers;
  /// Certificates to trust in place of the system's.
  std::string ca_file{};
};

/// GET, with If-Range where a resume point has a strong ETag for its validator. Redirects are followed
/// to http and https alone, from https to https alone. A proxy is taken from the environment, as
/// libcurl does it. A connection that breaks, a server that is busy (408, 429, 5xx), and one that says
/// nothing are tried again, after a pause, from where they were; FetchLimits::tries in a row without a
/// byte end it. Errors, here: invalid_argument (no URL, or not of these two).
Result<std::unique_ptr<TemplateSource>> http_source(std::string url, HttpOptions options);

}  // namespace platter::provision
