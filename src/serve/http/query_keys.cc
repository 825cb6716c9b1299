#include "serve/http/query_keys.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/ascii_text.h"
#include "base/nearest_word.h"

namespace sightline::serve {
namespace {

constexpr size_t kLongestShown = 100;

}  // namespace

absl::Status CheckQueryKeys(const HttpRequest& request, const RouteDocument& document) {
  std::vector<std::string_view> known;
  for (const RouteDocument::Parameter& parameter : document.parameters) {
    if (!parameter.in_header) known.push_back(parameter.name);
  }
  for (const std::string& key : request.QueryKeys()) {
    if (std::ranges::find(known, key) != known.end()) continue;
    const std::string shown = ShownText(key, kLongestShown);
    if (known.empty()) {
      return InvalidArgument("unknown key \"{}\" in the query: none is known here", shown);
    }
    const std::string near = NearestWord(shown, known);
    if (near.empty()) {
      return InvalidArgument("unknown key \"{}\" in the query: there are {}", shown,
                             fmt::join(known, ", "));
    }
    return InvalidArgument("unknown key \"{}\" in the query; did you mean \"{}\"?", shown, near);
  }
  return absl::OkStatus();
}

}  // namespace sightline::serve
