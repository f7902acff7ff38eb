// Templates that another process hands over: a pipe, a socket, an open file.
#pragma once

#include <memory>
#include <string>

#include "io/unique_fd.h"
#include "src/provision/template_source.h"

namespace platter::provision {

/// Read from where the descriptor stands to its end, once. `name` is for messages.
/// Errors: wrong_type (a terminal, a folder), io.
Result<std::unique_ptr<TemplateSource>> descriptor_source(UniqueFd fd, std::string name);

}  // namespace platter::provision
