#include <fmt/format.h>

#include "base/time.h"
#include "pipeline/config/fields.h"

namespace sightline::config {
namespace {

std::string FormatPoint(PointF point) { return fmt::format("[{}, {}]", point.x, point.y); }

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
  if (const auto* point = std::get_if<PointF>(&value)) return FormatPoint(*point);
  if (const auto* points = std::get_if<std::vector<PointF>>(&value)) {
    std::string text;
    for (const PointF point : *points) text += (text.empty() ? "" : ", ") + FormatPoint(point);
    return fmt::format("[{}]", text);
  }
  return std::get<SecretText>(value).shown();
}

}  // namespace sightline::config
