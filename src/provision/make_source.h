// A template source from what somebody typed.
#pragma once

#include <memory>
#include <string>

#include "src/provision/http_source.h"
#include "src/provision/template_source.h"

namespace platter::provision {

/// "http://..." and "https://...": a server. "fd:N": descriptor N of this process, which the source
/// takes over (its own copy). "-": standard input. Anything else: a path, "./" before one that looks
/// like those.
/// Errors: invalid_argument (another scheme; no such descriptor), wrong_type (a terminal).
Result<std::unique_ptr<TemplateSource>> make_source(std::string text, HttpOptions http = {});

}  // namespace platter::provision
