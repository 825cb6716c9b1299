// The composition root: which sources, backends, detectors and sinks this program has.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/output_wait.h"
#include "base/partial_file.h"
#include "base/status.h"
#include "cli/backends.h"
#include "detect/promptable_segmenter.h"
#include "infer/backend.h"
#include "pipeline/config/config.h"
#include "pipeline/engine.h"
#include "types/picture_writer.h"

namespace sightline::cli {

// The model file behind a package name or path, checked.
absl::StatusOr<std::string> ModelFileOf(const std::string& model);

absl::StatusOr<DetectorFactory> OpenConfiguredDetector(const ModelConfig& model);
// The same with what a promptable segmenter is asked; refused for other models unless empty.
absl::StatusOr<DetectorFactory> OpenPromptedDetector(const ModelConfig& model,
                                                     std::vector<Prompt> prompts);

// An MP4 of pictures in any order of formats; crf as in H.264 (23 is usual). `file`: the one of
// `path`, when it is open already. With `wait` a full disk is waited for.
absl::StatusOr<std::unique_ptr<PictureWriter>> OpenVideo(
    const std::string& path, int width, int height, double fps, int crf,
    std::unique_ptr<PartialFile> file = nullptr, std::shared_ptr<OutputWait> wait = nullptr);

// The id of a configuration's only camera; empty when it has several. Of the configuration that a run
// begins with: that camera's report is report.png for as long as the run lasts, those of others are
// report-ID.png, so that no name depends on how many cameras there are.
std::string OnlyCameraOf(const Config& first);

// Where the sinks of a run write.
struct OutputPaths {
  std::string database;
  std::string json_lines;
  std::vector<std::pair<std::string, std::string>> reports;  // camera id, path
  std::vector<std::pair<std::string, std::string>> videos;   // camera id, path
};
// `only`: OnlyCameraOf() what the run began with.
OutputPaths PathsOf(const Config& config, const std::string& only);

// For a run that begins with that configuration.
EngineFactories MakeFactories(const Config& first);
// The same graph, but nothing is written: sinks only have names. For `explain`.
EngineFactories MakeDryFactories(const Config& first);

}  // namespace sightline::cli
