// The pictures of `sightline eval --plots`: precision over recall, and the confusion of classes.
#pragma once

#include <map>
#include <string>

#include "base/status.h"
#include "evaluate/detection_accuracy.h"
#include "evaluate/label_accuracy.h"
#include "evaluate/labelled_pictures.h"

namespace sightline::cli {

// precision_recall.png and confusion.png in `folder`, which is made. Errors: those of files.
absl::Status WriteBoxPlots(const std::string& folder, const std::string& what,
                           const evaluate::LabelledPictures& truth,
                           const evaluate::FoundInPictures& found,
                           const evaluate::DetectionReport& report);

// confusion.png alone.
absl::Status WriteLabelPlots(const std::string& folder, const std::string& what,
                             const std::map<int32_t, std::string>& class_names,
                             const evaluate::LabelReport& report);

}  // namespace sightline::cli
