#include "cli/prompt_options.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <system_error>

namespace sightline::cli {
namespace {

constexpr size_t kMostBoxes = 1'000;  // chosen

// `count` finite numbers with commas between.
absl::Status ReadNumbers(const std::string& option, const std::string& text,
                         std::string_view expected, std::span<float> numbers) {
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  for (size_t i = 0; i < numbers.size(); ++i) {
    const auto [stop, error] = std::from_chars(at, end, numbers[i]);
    const bool last = i + 1 == numbers.size();
    if (error != std::errc() || !std::isfinite(numbers[i]) ||
        (last ? stop != end : stop == end || *stop != ',')) {
      return InvalidArgument("{} {}: {} in pixels of the picture is expected", option, text,
                             expected);
    }
    at = stop + 1;
  }
  return absl::OkStatus();
}

absl::Status AddPoints(const std::string& option, const std::vector<std::string>& texts,
                       bool inside, std::vector<PromptPoint>* points) {
  for (const std::string& text : texts) {
    std::array<float, 2> xy{};
    SL_RETURN_IF_ERROR(ReadNumbers(option, text, "X,Y", xy));
    points->push_back({{xy[0], xy[1]}, inside});
  }
  return absl::OkStatus();
}

}  // namespace

void AddPromptOptions(CLI::App& command, PromptOptions& options) {
  command
      .add_option("--point", options.inside,
                  "X,Y of a place on the object, for promptable segmenters (SAM); several: one "
                  "object")
      ->allow_extra_args(false);
  command.add_option("--outside", options.outside, "X,Y of a place that is not on the object")
      ->allow_extra_args(false);
  command
      .add_option("--box", options.boxes, "X1,Y1,X2,Y2 around the object; several: an object each")
      ->allow_extra_args(false);
}

absl::StatusOr<std::vector<Prompt>> PromptsOf(const PromptOptions& options) {
  Prompt one;
  SL_RETURN_IF_ERROR(AddPoints("--point", options.inside, true, &one.points));
  SL_RETURN_IF_ERROR(AddPoints("--outside", options.outside, false, &one.points));
  std::vector<Prompt> prompts;
  for (const std::string& text : options.boxes) {
    std::array<float, 4> c{};
    SL_RETURN_IF_ERROR(ReadNumbers("--box", text, "X1,Y1,X2,Y2", c));
    prompts.push_back({.points = {}, .box_px = Box{c[0], c[1], c[2], c[3]}});
  }
  if (prompts.size() > kMostBoxes) {
    return InvalidArgument("{} times --box; {} are possible", prompts.size(), kMostBoxes);
  }
  if (one.points.empty()) return prompts;
  if (prompts.size() > 1) {
    return InvalidArgument(
        "--point and --outside speak of one object, and each --box is one of its own: give one "
        "--box with them, or none");
  }
  if (prompts.empty()) prompts.emplace_back();
  prompts[0].points = std::move(one.points);
  return prompts;
}

}  // namespace sightline::cli
