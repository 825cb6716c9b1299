// The files behind the models of a configuration.
#pragma once

#include <string>
#include <vector>

#include "pipeline/config/config.h"

namespace sightline::cli {

// The model's file with the description beside it, or all of its package. Empty for what is built in
// or not there: that is reported where it is opened.
std::vector<std::string> FilesOf(const ModelConfig& model);

// Sets ModelConfig::content of every model from its files. A model that cannot be read has what it has
// in `before` (may be null), under the same name and reference: who works with it goes on.
// Cost: reading the files, about 2 ms a MB.
void LookAtModels(const Config* before, Config& config);

}  // namespace sightline::cli
