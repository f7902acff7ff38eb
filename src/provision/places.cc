#include "src/provision/places.h"

#include <string>
#include <utility>

namespace platter::provision {
namespace {

constexpr const char* kLocks = "locks";

Result<std::optional<Folder>> find(const Folder& root, const std::string& name) {
  Result<Folder> folder = root.folder(name);
  if (folder) return *std::move(folder);
  if (folder.error().kind() == ErrorKind::not_found) return std::nullopt;
  return fail(std::move(folder.error()));
}

Result<Places> open(const Config& config) {
  if (Result<void> fits = check(config); !fits) return fail(std::move(fits.error()));
  Result<Folder> root = Folder::open(config.instances);
  if (!root) return fail(std::move(root.error()));
  return Places{.root = *std::move(root), .bases = std::nullopt, .locks = std::nullopt};
}

}  // namespace

Result<Places> Places::make(const Config& config) {
  Result<Places> places = open(config);
  if (!places) return places;
  Result<Folder> bases = places->root.make_folder(config.base_folder);
  if (!bases) return fail(std::move(bases.error()));
  places->bases = *std::move(bases);
  Result<Folder> locks = places->root.make_folder(kLocks);
  if (!locks) return fail(std::move(locks.error()));
  places->locks = *std::move(locks);
  return places;
}

Result<Places> Places::look(const Config& config) {
  Result<Places> places = open(config);
  if (!places) return places;
  Result<std::optional<Folder>> bases = find(places->root, config.base_folder);
  if (!bases) return fail(std::move(bases.error()));
  places->bases = *std::move(bases);
  Result<std::optional<Folder>> locks = find(places->root, kLocks);
  if (!locks) return fail(std::move(locks.error()));
  places->locks = *std::move(locks);
  return places;
}

}  // namespace platter::provision
