#include "evaluate/yolo_labels.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "base/number_lines.h"
#include "evaluate/text_lines.h"

namespace sightline::evaluate {
namespace {

// What rounding may put outside of the picture; Ultralytics allows as much.
constexpr double kBeyond = 0.01;

enum class Shape : uint8_t { kBox, kOutline, kKeyPoints };

absl::StatusOr<Shape> ShapeOf(size_t values, const YoloFormat& format) {
  const size_t with_points =
      5 + static_cast<size_t>(format.key_points) * static_cast<size_t>(format.key_point_values);
  if (values == 5) return Shape::kBox;
  if (format.key_points > 0 && values == with_points) return Shape::kKeyPoints;
  if (values >= 7 && values % 2 == 1 && format.key_points == 0) return Shape::kOutline;
  if (format.with_confidence && values + 1 == 5) {
    return InvalidArgument(
        "five values and no confidence; results are \"class cx cy w h confidence\" (Ultralytics "
        "writes it with save_conf=True)");
  }
  if (!format.with_confidence && values == 6) {
    return InvalidArgument(
        "six values: truth is \"class cx cy w h\"; with a confidence behind it these are results");
  }
  if (format.key_points > 0) {
    return InvalidArgument("{} values where 5, or {} with key points, are expected", values,
                           with_points);
  }
  return InvalidArgument(
      "{} values; a box has 5 (class cx cy w h), an outline class x1 y1 x2 y2 "
      "x3 y3 and so on{}",
      values, format.with_confidence ? ", before the confidence" : "");
}

absl::Status CheckFractions(std::span<const double> values) {
  for (const double value : values) {
    if (value >= -kBeyond && value <= 1 + kBeyond) continue;
    return InvalidArgument("{} is no fraction of the picture's width or height from 0 to 1{}",
                           value, value > 2 ? "; pixels have to be divided by them" : "");
  }
  return absl::OkStatus();
}

void TakeOutline(std::span<const double> points, PictureSize picture, YoloObject* object) {
  double left = std::numeric_limits<double>::infinity();
  double top = left;
  double right = -left;
  double bottom = -left;
  double twice_area = 0;
  for (size_t i = 0; i + 1 < points.size(); i += 2) {
    left = std::min(left, points[i]);
    right = std::max(right, points[i]);
    top = std::min(top, points[i + 1]);
    bottom = std::max(bottom, points[i + 1]);
    const size_t next = i + 2 < points.size() ? i + 2 : 0;
    twice_area += points[i] * points[next + 1] - points[next] * points[i + 1];
  }
  object->box_px = {left * picture.width, top * picture.height, (right - left) * picture.width,
                    (bottom - top) * picture.height};
  object->area_px2 = std::abs(twice_area) / 2 * picture.width * picture.height;
}

}  // namespace

absl::StatusOr<YoloObject> ParseYoloLine(std::string_view line, const YoloFormat& format,
                                         PictureSize picture) {
  std::vector<std::string_view> words;
  SplitWords(line, &words);
  std::vector<double> values(words.size());
  for (size_t i = 0; i < words.size(); ++i) {
    if (!ParseFinite(words[i], &values[i])) {
      return InvalidArgument("value {}, \"{}\", is no number", i + 1, ShownText(words[i]));
    }
  }
  YoloObject object;
  const bool confident = format.with_confidence && values.size() > 1;
  SL_ASSIGN_OR_RETURN(const Shape shape, ShapeOf(values.size() - (confident ? 1 : 0), format));
  if (confident) {
    object.confidence = values.back();
    values.pop_back();
  }
  const double number = values[0];
  const double most = format.classes > 0 ? format.classes - 1 : 1e6;
  if (number != std::floor(number) || number < 0 || number > most) {
    return InvalidArgument("class {} is none of 0 to {}{}", number, most,
                           format.classes > 0 ? ", the classes that have a name" : "");
  }
  object.class_id = static_cast<int32_t>(number);
  const std::span<const double> rest = std::span<const double>(values).subspan(1);
  if (shape == Shape::kOutline) {
    SL_RETURN_IF_ERROR(CheckFractions(rest));
    TakeOutline(rest, picture, &object);
    return object;
  }
  SL_RETURN_IF_ERROR(CheckFractions(rest.first(4)));
  if (rest[2] < 0 || rest[3] < 0) return InvalidArgument("width or height is below 0");
  object.box_px = {(rest[0] - rest[2] / 2) * picture.width,
                   (rest[1] - rest[3] / 2) * picture.height, rest[2] * picture.width,
                   rest[3] * picture.height};
  object.area_px2 = object.box_px.area();
  return object;
}

}  // namespace sightline::evaluate
