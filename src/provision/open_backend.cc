#include "src/provision/open_backend.h"

#include <utility>

#include "src/provision/flat_backend.h"
#include "src/provision/lvm_backend.h"
#include "src/provision/qcow2_backend.h"

namespace platter::provision {

Result<std::unique_ptr<ImageBackend>> open_backend(Config config, BackendUse use) {
  const bool looks = use == BackendUse::look;
  switch (config.backend) {
    case BackendKind::flat:
      return looks ? FlatBackend::look(std::move(config)) : FlatBackend::open(std::move(config));
    case BackendKind::qcow2:
      return looks ? Qcow2Backend::look(std::move(config)) : Qcow2Backend::open(std::move(config));
    case BackendKind::lvm:
      return looks ? LvmBackend::look(std::move(config)) : LvmBackend::open(std::move(config));
  }
  return fail(ErrorKind::invalid_argument, "No such backend");
}

}  // namespace platter::provision
