#include <fmt/format.h>

#include <cmath>

#include "base/time.h"
#include "pipeline/config/fields.h"

namespace sightline::config {
namespace {

std::string FormatPoint(PointF point) { return fmt::format("[{}, {}]", point.x, point.y); }

std::string FormatBound(const Field& field, double bound) {
  if (field.type == FieldType::kDuration) return FormatDuration(static_cast<int64_t>(bound));
  if (std::abs(bound) < 1e15 && bound == std::floor(bound)) {
    return fmt::format("{}", static_cast<int64_t>(bound));
  }
  return fmt::format("{}", bound);
}

// " from 1 to 64", " above 0 and at most 1", "".
std::string RangeWords(const Field& field) {
  const bool low = std::isfinite(field.min);
  const bool high = std::isfinite(field.max);
  if (!low && !high) return "";
  if (low && high && !field.min_excluded) {
    if (field.min == field.max)
      return fmt::format(", {} and no other", FormatBound(field, field.min));
    return fmt::format(" from {} to {}", FormatBound(field, field.min),
                       FormatBound(field, field.max));
  }
  std::string words;
  if (low) {
    words =
        fmt::format(" {} {}", field.min_excluded ? "above" : "from", FormatBound(field, field.min));
  }
  if (high) {
    words +=
        fmt::format("{} at most {}", words.empty() ? "" : " and", FormatBound(field, field.max));
  }
  return words;
}

}  // namespace

std::string FormatDuration(int64_t duration_us) {
  constexpr std::pair<int64_t, std::string_view> kUnits[] = {
      {3'600'000'000, "h"}, {60'000'000, "m"}, {1'000'000, "s"}, {1000, "ms"}};
  if (duration_us == 0) return "0s";
  for (const auto& [unit, name] : kUnits) {
    if (duration_us % unit == 0) return fmt::format("{}{}", duration_us / unit, name);
  }
  return fmt::format("{}us", duration_us);
}

std::string FormatValue(const Field& field, const Value& value) {
  if (std::holds_alternative<std::monostate>(value)) return "";
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* integer = std::get_if<int64_t>(&value)) {
    switch (field.type) {
      case FieldType::kDuration:
        return FormatDuration(*integer);
      case FieldType::kTime:
        return FormatUtc(*integer);
      case FieldType::kChoice:
        return std::string(field.choices[static_cast<size_t>(*integer)]);
      default:
        return fmt::format("{}", *integer);
    }
  }
  if (const auto* number = std::get_if<double>(&value)) return fmt::format("{}", *number);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    return fmt::format("[{}]", fmt::join(*list, ", "));
  }
  if (const auto* numbers = std::get_if<std::vector<int64_t>>(&value)) {
    return fmt::format("[{}]", fmt::join(*numbers, ", "));
  }
  if (const auto* point = std::get_if<PointF>(&value)) return FormatPoint(*point);
  if (const auto* points = std::get_if<std::vector<PointF>>(&value)) {
    std::string text;
    for (const PointF point : *points) text += (text.empty() ? "" : ", ") + FormatPoint(point);
    return fmt::format("[{}]", text);
  }
  return std::get<SecretText>(value).shown();
}

std::string WantedWords(const Field& field) {
  switch (field.type) {
    case FieldType::kBool:
      return "true or false";
    case FieldType::kInteger:
      return "a whole number" + RangeWords(field);
    case FieldType::kNumber:
      return "a number" + RangeWords(field);
    case FieldType::kDuration:
      return "a duration such as 250ms, 2s or 5m" + RangeWords(field);
    case FieldType::kTime:
      return "a time such as 2026-01-31T12:34:56Z";
    case FieldType::kChoice:
      return fmt::format("one of {}", fmt::join(field.choices, ", "));
    case FieldType::kId:
      return "a name of letters, digits, _, . and -";
    case FieldType::kLabel:
      return "a name";
    case FieldType::kText:
      return "a text";
    case FieldType::kPath:
      return "a path";
    case FieldType::kSource:
      return "a path or URL";
    case FieldType::kSecret:
      return "${env:NAME} or ${file:PATH}";
    case FieldType::kTextList:
      return "a list of names such as [person, car]";
    case FieldType::kNumberList:
      return "a list of whole numbers" + RangeWords(field);
    case FieldType::kPoint:
      return "a point [x, y]";
    case FieldType::kPoints:
      return "a list of points [[x, y], [x, y], ...]";
    case FieldType::kSection:
      return "a map (\"key: value\" lines, indented)";
    case FieldType::kSectionList:
      return "a list of maps (each starts with \"- \")";
  }
  return "";
}

}  // namespace sightline::config
