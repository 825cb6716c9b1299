// What a model file is: family, layout, input and labels, from its shapes, names and metadata, and
// from the values that it gives for a made-up picture. File names play no part.
//
// Known are the families of detect/family.h, each for any input size, class count, fixed or dynamic
// batch. Everything else, and what may be of several families, is refused (InvalidArgument) with
// the shapes seen, the name of what it looks like, and what to write into a model.yaml if the user
// knows better. What had to be guessed is said in `warnings`.
//
// Input preparation cannot be seen in a file, so it is the family's own: that of its reference
// implementation. A family whose models differ in it says so in `warnings`.
//
// Cost: one run of the model, one for each family whose shapes fit, three for an open batch. Threads: reentrant, as far as the probe is.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "detect/model_probe.h"
#include "infer/onnx_file.h"
#include "types/model_spec.h"

namespace sightline {

struct Recognition {
  ModelSpec spec;                     // `file` as inspected; sha256 of it
  std::string why;                    // one line for people: what was seen and what follows
  std::vector<std::string> warnings;  // guesses to be checked
};

absl::StatusOr<Recognition> RecogniseModel(const OnnxFileInfo& info, const ModelProbe& probe);

// The recipe, thresholds and suppression that a family's reference uses, for an input of this size.
// InvalidArgument for an unknown family.
absl::StatusOr<ModelSpec> FamilyDefaults(const std::string& family, int width, int height);

}  // namespace sightline
