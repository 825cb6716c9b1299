// Class names for a model: from the file's metadata, or by what is usual for the number of classes.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "types/detections.h"

namespace sightline {

struct ModelLabels {
  std::shared_ptr<const LabelSet> labels;  // never null; empty when nothing is known
  std::string source;                      // for people
  std::string warning;                     // when it is a guess or a gap
};

// `classes` 0: the outputs do not show how many there are.
ModelLabels LabelsFor(const std::map<std::string, std::string>& metadata, const std::string& family,
                      int classes);

// Whether the metadata name this many classes.
bool NamesIn(const std::map<std::string, std::string>& metadata, int classes);

// Names out of a metadata value: {0: 'person', 1: 'dog'} as Python or JSON writes it,
// ["person", "dog"], or person,dog. Empty when it is none of these, or ids are missing.
std::vector<std::string> ParseLabelList(const std::string& text);

}  // namespace sightline
