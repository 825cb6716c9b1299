#include "cli/models_print.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "base/json_text.h"
#include "cli/standard_output.h"

namespace sightline::cli {
namespace {

// 0.7f is 0.7, not 0.69999998.
double AsWritten(float value) { return std::strtod(fmt::format("{}", value).c_str(), nullptr); }

}  // namespace

std::string LabelWords(const LabelSet& labels) {
  constexpr size_t kShown = 5;
  const size_t shown = std::min(kShown, labels.names.size());
  return labels.names.empty()
             ? "none: classes are shown by number (--labels FILE)"
             : fmt::format("{}: {}{}", labels.names.size(),
                           fmt::join(labels.names.begin(), labels.names.begin() + shown, ", "),
                           shown < labels.names.size() ? ", ..." : "");
}

nlohmann::json ToJson(const ModelPackage& package) {
  const ModelSpec& spec = package.spec;
  return {{"name", spec.name},
          {"file", spec.file},
          {"sha256", spec.sha256},
          {"family", spec.family},
          {"layout", spec.layout},
          {"labels", spec.labels->names},
          {"input",
           {{"name", spec.input_name},
            {"width", spec.input.width},
            {"height", spec.input.height},
            {"batch", spec.batch}}},
          {"outputs", spec.output_names},
          {"confidence", AsWritten(spec.confidence_threshold)},
          {"why", package.why}};
}

void PrintJson(const nlohmann::json& json) { PrintOut("{}\n", JsonText(json)); }

void PrintPackage(const ModelPackage& package) {
  const ModelSpec& spec = package.spec;
  PrintOut("  family    {}, layout {}\n", spec.family, spec.layout);
  PrintOut("  input     {} {}x{}, batch {}\n", spec.input_name, spec.input.width, spec.input.height,
           spec.batch == 0 ? "any" : std::to_string(spec.batch));
  PrintOut("  labels    {}\n", LabelWords(*spec.labels));
  PrintOut("  confident from {}, NMS at IoU {}\n", spec.confidence_threshold,
           spec.nms.iou_threshold);
  for (const std::string& reason : package.why) PrintOut("  why       {}\n", reason);
}

absl::Status CannotRun(const absl::Status& status, std::string_view mend) {
  return InvalidArgument("this package cannot run: {}; {}", MessageOf(status), mend);
}

}  // namespace sightline::cli
