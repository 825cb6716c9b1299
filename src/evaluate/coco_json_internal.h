// COCO's JSON element by element, with errors that name the place: annotations[3].bbox.
// For the files that read it; not a header for others. Threads: reentrant.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/number_lines.h"
#include "base/status.h"
#include "evaluate/scored_box.h"

namespace sightline::evaluate {

using nlohmann::json;

inline constexpr uint64_t kMostCocoBytes = uint64_t{512} << 20;

// Outlines and key points are most of a file: left out unless `shapes`.
inline absl::StatusOr<json> ParseJson(const std::string& text, const std::string& name,
                                      bool shapes = false) {
  constexpr int kMostDepth = 64;
  bool too_deep = false;
  const auto keep = [&](int depth, json::parse_event_t event, json& value) {
    too_deep = too_deep || depth > kMostDepth;
    if (too_deep) return false;
    if (event != json::parse_event_t::key) return true;
    return shapes || (value != "segmentation" && value != "keypoints");
  };
  try {
    json parsed = json::parse(text, keep);
    if (too_deep) return InvalidArgument("{}: nested deeper than {}", name, kMostDepth);
    return parsed;
  } catch (const json::exception& error) {
    return InvalidArgument("{}: no JSON: {}", name, ShownText(error.what()));
  }
}

// Errors name the element: annotations[3].bbox.
class Element {
 public:
  Element(const json& value, std::string place) : value_(value), place_(std::move(place)) {}

  absl::StatusOr<int64_t> Id(const char* key) const {
    SL_ASSIGN_OR_RETURN(const double number, Number(key));
    if (number != std::floor(number) || std::abs(number) > 9e15) {
      return InvalidArgument("{}.{} is {}, expected a whole number", place_, key, number);
    }
    return static_cast<int64_t>(number);
  }
  absl::StatusOr<int32_t> ClassId(const char* key) const {
    SL_ASSIGN_OR_RETURN(const int64_t id, Id(key));
    if (id < 0 || id > std::numeric_limits<int32_t>::max()) {
      return InvalidArgument("{}.{} is {}, expected 0 to 2147483647", place_, key, id);
    }
    return static_cast<int32_t>(id);
  }
  absl::StatusOr<double> Number(const char* key) const {
    if (!value_.is_object()) return InvalidArgument("{} is no object", place_);
    const auto found = value_.find(key);
    if (found == value_.end()) return InvalidArgument("{} has no \"{}\"", place_, key);
    if (!found->is_number() || !std::isfinite(found->get<double>())) {
      return InvalidArgument("{}.{} is no number", place_, key);
    }
    return found->get<double>();
  }
  // Absent is 0.
  absl::StatusOr<bool> Flag(const char* key) const {
    const auto found = value_.find(key);
    if (found == value_.end()) return false;
    if (found->is_boolean()) return found->get<bool>();
    SL_ASSIGN_OR_RETURN(const double number, Number(key));
    return number != 0;
  }
  // Absent, or no text, is empty.
  std::string Text(const char* key) const {
    if (!value_.is_object()) return {};
    const auto found = value_.find(key);
    return found != value_.end() && found->is_string() ? found->get<std::string>() : std::string();
  }
  bool Has(const char* key) const { return value_.is_object() && value_.contains(key); }
  absl::StatusOr<PlacedBox> BoundingBox() const {
    if (!value_.is_object() || !value_.contains("bbox")) {
      return InvalidArgument("{} has no \"bbox\"", place_);
    }
    const json& box = value_["bbox"];
    bool good = box.is_array() && box.size() == 4;
    for (size_t i = 0; good && i < 4; ++i) {
      good = box[i].is_number() && std::isfinite(box[i].get<double>());
    }
    if (!good) return InvalidArgument("{}.bbox is not [x, y, width, height]", place_);
    return PlacedBox{box[0].get<double>(), box[1].get<double>(), box[2].get<double>(),
                     box[3].get<double>()};
  }
  const std::string& place() const { return place_; }

 private:
  const json& value_;
  const std::string place_;
};

template <typename Take>
absl::Status ForEachElement(const json& list, const std::string& name, Take take) {
  if (!list.is_array()) return InvalidArgument("{} is no list", name);
  for (size_t i = 0; i < list.size(); ++i) {
    SL_RETURN_IF_ERROR(take(Element(list[i], fmt::format("{}[{}]", name, i)), list[i]));
  }
  return absl::OkStatus();
}

inline absl::StatusOr<const json*> ListOf(const json& truth, const char* key,
                                          const std::string& name) {
  if (truth.is_object() && truth.contains(key)) return &truth[key];
  return InvalidArgument(
      "{}: no \"{}\"; a truth file has \"images\", \"categories\" and \"annotations\"", name, key);
}

}  // namespace sightline::evaluate
