// What the commands about models say of them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/status.h"
#include "infer/model_package.h"

namespace sightline::cli {

// "80: person, bicycle, ..."
std::string LabelWords(const LabelSet& labels);

nlohmann::json ToJson(const ModelPackage& package);
void PrintJson(const nlohmann::json& json);  // and a newline

// Family, input, labels and why, a line each.
void PrintPackage(const ModelPackage& package);

// A description under which a model does not run is a mistake in that description; `mend` says what
// to do.
absl::Status CannotRun(const absl::Status& status, std::string_view mend);

}  // namespace sightline::cli
