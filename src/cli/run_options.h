// The options of `run` and `explain`, and the configuration that they amount to.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "pipeline/config/config.h"

namespace sightline::cli {

struct RunOptions {
  std::string config;
  std::vector<std::string> sources;
  std::string model;
  std::string backend;
  std::string out;
  std::string duration;
  std::string metrics;
  std::string start_time;
  int every = 0;
  double target_fps = 0;
  double motion = -1;
  double confidence = -1;
  int threads = 0;
  uint64_t max_frames = 0;
  bool no_video = false;
  bool no_report = false;
  bool json = false;
  bool quiet = false;
  bool check_sources = true;  // off: `sources` stands for something else
};

void AddRunOptions(CLI::App& command, const std::shared_ptr<RunOptions>& options);

// --backend, of every command that runs models.
CLI::Option* AddBackendOption(CLI::App& command, std::string& backend);

// A source as it can stand in a line and in a configuration: bytes that are no UTF-8 are U+FFFD,
// control characters are "?".
std::string ShownSource(const std::string& source);

// The file's configuration with the command line over it, or one made of --source and --model.
// `text`: what stands in the file, where that is known already.
absl::StatusOr<Config> ConfigOf(const RunOptions& options, const std::string* text = nullptr);

}  // namespace sightline::cli
