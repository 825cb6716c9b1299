// Class names as different people write them: which of them mean the same.
// Threads: reentrant.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "evaluate/labelled_pictures.h"

namespace sightline::evaluate {

inline constexpr int32_t kNoClass = -1;

// Equal for names of one class: the case of letters, blanks, "_" and "-" do not matter, "pedestrian"
// and "people" are person, and the names of Pascal VOC are those of COCO (tvmonitor is tv).
std::string ClassKey(const std::string& name);

// By the model's class, the class of the truth; kNoClass where the truth has none of that name.
std::vector<int32_t> MatchClasses(const std::vector<std::string>& model,
                                  const std::map<int32_t, std::string>& truth);

// Leaves the other classes out of the truth. NotFound, with the nearest name, for one that it lacks.
absl::Status KeepClasses(const std::vector<std::string>& names, LabelledPictures* truth);

}  // namespace sightline::evaluate
