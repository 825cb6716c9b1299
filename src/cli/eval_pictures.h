// `sightline eval` on labelled pictures: results of any origin, or a model that is run for it.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace sightline::cli {

struct PictureEvalArguments {
  std::pair<std::string, std::string> detections;  // truth and results
  std::string model;
  std::string images;  // truth, with its pictures
  std::string format = "auto";
  std::string split;
  std::vector<std::string> classes;  // to judge; empty: all
  // Average precision wants the unsure boxes, too; what reference pipelines use (YOLOX, Ultralytics).
  double confidence = 0.001;
  double nms_iou = -1;
  std::string backend;
  int threads = 0;
  std::vector<std::string> perturb;  // kinds, or "all"; empty: none
  uint64_t seed = 1;
  std::vector<std::string> tta;  // "flip", "scale"; empty: none
  std::string merge = "wbf";
  std::string plots;  // folder for pictures; empty: none
  bool json = false;

  bool with_results() const { return !detections.first.empty(); }
  bool with_model() const { return !model.empty() || !images.empty(); }
};

// All but --classes and --json, which the command shares with others.
void AddPictureEvalOptions(CLI::App& command, PictureEvalArguments& arguments);

absl::Status EvalPictures(const PictureEvalArguments& arguments);

}  // namespace sightline::cli
