#include "evaluate/class_names.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include "base/ascii_text.h"
#include "base/nearest_word.h"

namespace sightline::evaluate {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kSame = {{
    {"pedestrian", "person"},
    {"people", "person"},
    {"motorbike", "motorcycle"},
    {"aeroplane", "airplane"},
    {"sofa", "couch"},
    {"tvmonitor", "tv"},
}};

}  // namespace

std::string ClassKey(const std::string& name) {
  std::string key = AsciiLower(name);
  std::erase_if(key, [](char c) { return c == ' ' || c == '_' || c == '-'; });
  for (const auto& [other, usual] : kSame) {
    if (key == other) return std::string(usual);
  }
  return key;
}

std::vector<int32_t> MatchClasses(const std::vector<std::string>& model,
                                  const std::map<int32_t, std::string>& truth) {
  std::map<std::string, int32_t> by_key;
  for (const auto& [id, name] : truth) by_key.try_emplace(ClassKey(name), id);
  std::vector<int32_t> classes;
  for (const std::string& name : model) {
    const auto found = by_key.find(ClassKey(name));
    classes.push_back(found == by_key.end() ? kNoClass : found->second);
  }
  return classes;
}

absl::Status KeepClasses(const std::vector<std::string>& names, LabelledPictures* truth) {
  if (names.empty()) return absl::OkStatus();
  const std::vector<int32_t> wanted = MatchClasses(names, truth->class_names);
  for (size_t i = 0; i < names.size(); ++i) {
    if (wanted[i] != kNoClass) continue;
    std::vector<std::string_view> known;
    for (const auto& [id, name] : truth->class_names) known.push_back(name);
    const std::string nearest = NearestWord(names[i], known);
    return NotFound("the truth has no class \"{}\"{}", names[i],
                    nearest.empty() ? std::string() : "; did you mean \"" + nearest + "\"?");
  }
  const std::set<int32_t> kept(wanted.begin(), wanted.end());
  std::erase_if(truth->class_names, [&](const auto& one) { return !kept.contains(one.first); });
  for (LabelledPicture& picture : truth->pictures) {
    std::erase_if(picture.truth, [&](const TrueBox& box) { return !kept.contains(box.class_id); });
  }
  return absl::OkStatus();
}

}  // namespace sightline::evaluate
