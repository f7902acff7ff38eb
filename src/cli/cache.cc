#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "src/cli/cache_text.h"
#include "src/cli/disk_arguments.h"
#include "src/cli/json_text.h"
#include "src/cli/verb.h"
#include "src/provision/cache_report.h"
#include "src/provision/names.h"
#include "src/provision/places.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {0, "output", "FORMAT", "human (default) or json"},
    {0, "known-image", "ID", "prune: an image that is still wanted; may be given more than once"},
    {'n', "dry-run", "", "prune: say what would go"},
    {'v', "verbose", "", "prune: say what stays, too, and why"},
};
constexpr auto kOptions = join_options(kOwnOptions, kPlaceOptions);

constexpr int kExitBadBase = 2;

using Known = std::set<std::string, std::less<>>;

Result<Known> known_bases(const Arguments& arguments) {
  Known known;
  for (const std::string& id : arguments.values("known-image")) {
    Result<std::string> name = provision::base_name_of(id);
    if (!name) return fail(std::move(name.error()));
    known.insert(*std::move(name));
  }
  return known;
}

// What the sub-verbs work with.
struct CacheWork {
  Context& context;
  const Arguments& arguments;
  const provision::Config& config;
  const provision::Places& places;
  bool json;
};

int print_report(const CacheWork& work, std::string (*text)(const provision::CacheReport&),
                 nlohmann::ordered_json (*json)(const provision::CacheReport&)) {
  const auto report = work.context.run(
      provision::look_at_cache(work.places, work.config, {}, &work.context.cancel()));
  if (!report) return work.context.fail_with(report.error());
  work.context.print(work.json ? json_text(json(*report)) : text(*report));
  return kExitOk;
}

int list(const CacheWork& work) { return print_report(work, list_text, list_json); }
int stats(const CacheWork& work) { return print_report(work, stats_text, stats_json); }

int prune(const CacheWork& work) {
  Result<Known> known = known_bases(work.arguments);
  if (!known) return work.context.fail_with(known.error());
  const provision::PruneOptions options{.known = *std::move(known),
                                        .dry_run = work.arguments.has("dry-run"),
                                        .cancel = &work.context.cancel()};
  const auto result = work.context.run(provision::prune_cache(work.places, work.config, options));
  if (!result) return work.context.fail_with(result.error());
  work.context.print(work.json ? json_text(prune_json(*result))
                               : prune_text(*result, work.arguments.has("verbose")));
  const bool failed = std::ranges::any_of(result->bases, [](const auto& pruned) {
    return pruned.verdict == provision::PruneVerdict::failed;
  });
  return failed ? kExitError : kExitOk;
}

int verify(const CacheWork& work) {
  const auto bases =
      work.context.run(provision::verify_cache(work.places, work.config, &work.context.cancel()));
  if (!bases) return work.context.fail_with(bases.error());
  work.context.print(work.json ? json_text(verify_json(*bases)) : verify_text(*bases));
  const bool bad =
      std::ranges::any_of(*bases, [](const auto& base) { return !base.fault.empty(); });
  return bad ? kExitBadBase : kExitOk;
}

struct CacheVerb {
  std::string_view name;
  int (*run)(const CacheWork&);
};
constexpr std::array kCacheVerbs = {CacheVerb{"list", list}, CacheVerb{"prune", prune},
                                    CacheVerb{"verify", verify}, CacheVerb{"stats", stats}};

int run(Context& context, const Arguments& arguments) {
  const std::vector<std::string>& words = arguments.positional();
  const auto verb = words.empty() ? kCacheVerbs.end()
                                  : std::ranges::find(kCacheVerbs, words.front(), &CacheVerb::name);
  if (verb == kCacheVerbs.end() || words.size() != 1) {
    context.usage_error("cache: expecting one of list, prune, verify, stats");
    return kExitError;
  }
  const std::string output = arguments.value("output", "human");
  if (output != "human" && output != "json") {
    context.error("--output must be used with human or json as argument.");
    return kExitError;
  }
  const Result<provision::Config> config = given_config(arguments);
  if (!config) return context.fail_with(config.error());
  const Result<provision::Places> places = provision::Places::look(*config);
  if (!places) return context.fail_with(places.error());
  return verb->run({.context = context,
                    .arguments = arguments,
                    .config = *config,
                    .places = *places,
                    .json = output == "json"});
}

constexpr Example kExamples[] = {
    {"cache list --instances /var/lib/nova/instances", "bases, and how many disks stand on each"},
    {"cache prune -n --config platter.toml", "what would be removed"},
    {"cache prune --known-image 155d900f --config platter.toml", "keep an image that is wanted"},
    {"cache verify --output=json --instances DIR", "whether all bases are good"},
};

}  // namespace

const Verb kCache{
    .name = "cache",
    .operands = "list|prune|verify|stats",
    .help = "Shows and cleans the cache of base images",
    .options = kOptions,
    .run = run,
    .description =
        "list shows each base image with its size, what it takes of the disk, the time since it "
        "was "
        "last used and the disks that stand on it; stats sums that up. verify opens each and "
        "judges "
        "whether it is safe to make disks from: exit code 2 if one is not.\n\n"
        "prune removes the bases that no disk stands on and nobody has used for as long as the "
        "configuration says (a day; an hour for those made for one size of disk), and what fetches "
        "that ended long ago left. It looks at the headers of all instances' disks, twice for what "
        "goes: the second time it holds the base's lock. While one of them can't be read, nothing "
        "is "
        "removed.",
    .examples = kExamples};

}  // namespace platter::cli
