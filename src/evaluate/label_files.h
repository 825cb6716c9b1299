// Whole pictures and their classes: truth and results, and their comparison.
//
//   truth    a folder with a folder of pictures for every class (as of ImageNet), or rows
//   results  rows, several for a picture where it has several labels
//
// Rows are CSV (RFC 4180), image,label for truth and image,label,score[,label,score...] for results,
// with or without a line of headings, or JSON lines: {"image","label","score"}, or several at once in
// {"image","labels":[...],"scores":[...]}. A label is a class's name, or its number where no class has
// it for a name: from 0, in the order of the names (as torchvision's ImageFolder counts them). A
// picture goes by its path, as much of it as both sides say: "cat/1.jpg" and "/data/val/cat/1.jpg" are
// one. Threads: reentrant. Memory: a few times the files, at most 512 MiB each.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "evaluate/label_accuracy.h"

namespace sightline::evaluate {

struct LabelTruth {
  std::vector<std::string> pictures;  // paths as they were given
  std::vector<int32_t> classes;       // of each
  std::map<int32_t, std::string> class_names;
};

// `is_picture`: by a file's name. Errors: those of ReadWholeFile; NotFound for a folder without folders
// of pictures; InvalidArgument as file:line.
absl::StatusOr<LabelTruth> ReadLabelTruth(
    const std::string& path, const std::function<bool(const std::string&)>& is_picture);

struct LabelOutcome {
  LabelReport report;
  int64_t strange_labels = 0;  // of classes that the truth lacks
};

// InvalidArgument as file:line for malformed rows, for pictures that the truth lacks, and for names
// that several of its pictures have.
absl::StatusOr<LabelOutcome> CompareLabels(const LabelTruth& truth, const std::string& result_path,
                                           int k);

}  // namespace sightline::evaluate
