// Templates that lie on this machine.
#pragma once

#include <memory>
#include <string>

#include "src/provision/template_source.h"

namespace platter::provision {

/// A regular file or block device. Nothing is opened before fetch().
std::unique_ptr<TemplateSource> file_source(std::string path);

}  // namespace platter::provision
