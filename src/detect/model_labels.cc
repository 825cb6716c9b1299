#include "detect/model_labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include "infer/coco_labels.h"

namespace sightline {
namespace {

constexpr size_t kMaxLabels = 100'000;
constexpr size_t kMaxText = 4 << 20;
constexpr int kCocoClasses = 80;
constexpr std::array kNameKeys = {"names", "labels", "classes", "class_names", "label_names"};

// Reads tokens of a Python or JSON literal of numbers and strings.
class LiteralReader {
 public:
  explicit LiteralReader(std::string_view text) : text_(text) {}

  char Peek() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) {
      ++at_;
    }
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool Take(char c) {
    if (Peek() != c) return false;
    ++at_;
    return true;
  }
  std::optional<std::string> String() {
    const char quote = Peek();
    if (quote != '\'' && quote != '"') return std::nullopt;
    std::string value;
    for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
      value += text_[at_];
    }
    if (at_ == text_.size()) return std::nullopt;
    ++at_;
    return value;
  }
  std::optional<size_t> Number() {
    Peek();
    size_t value = 0;
    const auto [end, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc()) return std::nullopt;
    at_ = end - text_.data();
    return value;
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

std::vector<std::string> ParseMap(LiteralReader reader) {
  std::vector<std::string> names;
  reader.Take('{');
  for (bool first = true; !reader.Take('}'); first = false) {
    if (!first && !reader.Take(',')) return {};
    if (reader.Take('}')) break;
    std::optional<size_t> id = reader.Number();
    if (!id) {
      const std::optional<std::string> key = reader.String();
      if (key) id = LiteralReader(*key).Number();
    }
    if (!id || *id >= kMaxLabels || !reader.Take(':')) return {};
    std::optional<std::string> name = reader.String();
    if (!name) return {};
    if (names.size() <= *id) names.resize(*id + 1);
    names[*id] = *std::move(name);
  }
  for (const std::string& name : names) {
    if (name.empty()) return {};
  }
  return names;
}

std::vector<std::string> ParseList(LiteralReader reader) {
  std::vector<std::string> names;
  reader.Take('[');
  for (bool first = true; !reader.Take(']'); first = false) {
    if (!first && !reader.Take(',')) return {};
    if (reader.Take(']')) break;
    std::optional<std::string> name = reader.String();
    if (!name || names.size() == kMaxLabels) return {};
    names.push_back(*std::move(name));
  }
  return names;
}

std::vector<std::string> ParseSeparated(std::string_view text) {
  std::vector<std::string> names;
  const char separator = text.find('\n') != std::string_view::npos ? '\n' : ',';
  while (!text.empty()) {
    const size_t end = text.find(separator);
    std::string_view name = text.substr(0, end);
    while (!name.empty() && (name.front() == ' ' || name.front() == '\r')) name.remove_prefix(1);
    while (!name.empty() && (name.back() == ' ' || name.back() == '\r')) name.remove_suffix(1);
    if (!name.empty()) names.emplace_back(name);
    if (end == std::string_view::npos || names.size() == kMaxLabels) break;
    text.remove_prefix(end + 1);
  }
  return names;
}

}  // namespace

std::vector<std::string> ParseLabelList(const std::string& text) {
  if (text.size() > kMaxText) return {};
  LiteralReader reader(text);
  if (reader.Peek() == '{') return ParseMap(reader);
  if (reader.Peek() == '[') return ParseList(reader);
  return ParseSeparated(text);
}

bool NamesIn(const std::map<std::string, std::string>& metadata, int classes) {
  return std::ranges::any_of(kNameKeys, [&](const char* key) {
    const auto entry = metadata.find(key);
    return entry != metadata.end() &&
           ParseLabelList(entry->second).size() == static_cast<size_t>(classes);
  });
}

ModelLabels LabelsFor(const std::map<std::string, std::string>& metadata, const std::string& family,
                      int classes) {
  std::string mismatch;
  for (const char* key : kNameKeys) {
    const auto entry = metadata.find(key);
    if (entry == metadata.end()) continue;
    std::vector<std::string> names = ParseLabelList(entry->second);
    const size_t count = names.size();
    const bool fits = count == static_cast<size_t>(classes);
    if (fits || (classes == 0 && !names.empty())) {
      return {std::make_shared<LabelSet>(LabelSet{std::move(names)}),
              fmt::format("{} from the file's metadata \"{}\"", count, key), ""};
    }
    mismatch = fmt::format(
        "the file's metadata \"{}\" gives {} names where its outputs are for {} "
        "classes, and is not used; ",
        key, names.size(), classes);
  }
  constexpr std::array kWithoutClasses = {"embedding", "clip_image", "dinov2", "reid"};
  if (std::ranges::find(kWithoutClasses, family) != kWithoutClasses.end()) {
    return {std::make_shared<LabelSet>(), "none, as it has no classes", ""};
  }
  if (classes == 0) {
    return {std::make_shared<LabelSet>(), "none",
            "neither the outputs nor the metadata say how many classes there are: they will be "
            "called \"class 0\" and so on; give `labels`"};
  }
  if (family == "ultraface" || family == "yunet" || family == "scrfd" || family == "retinaface") {
    return {std::make_shared<LabelSet>(LabelSet{{"face"}}), "face", mismatch};
  }
  const bool boxes = family != "classifier" && family != "segmenter";
  if (classes == kCocoClasses && boxes) {
    return {CocoLabels(), "the 80 of COCO",
            mismatch + "80 classes: the names of COCO are assumed, in its usual order"};
  }
  return {std::make_shared<LabelSet>(), "none",
          fmt::format(
              "{}the names of its {} class{} are not known: they will be called \"class 0\" and "
              "so on; give `labels`",
              mismatch, classes, classes == 1 ? "" : "es")};
}

}  // namespace sightline
