// What `sightline models tune` found for a model on a machine: tune.yaml beside its model.yaml.
//
// Read as strictly as model.yaml: an unknown key, a wrong type or an impossible value is refused with
// file, line and column. At most 64 KiB. Threads: reentrant.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline {

// The processors that a program finds itself on, as far as a tuning depends on them.
struct MachineInfo {
  std::string cpu;  // model name: "AMD EPYC 9654 96-Core Processor"
  int cores = 1;    // that this process may use
  bool operator==(const MachineInfo&) const = default;
};
MachineInfo ThisMachine();

struct ModelTuning {
  std::string model_sha256;                     // of the model file
  MachineInfo machine;                          // that it was measured on
  std::map<std::string, std::string> versions;  // of the backends that were measured
  // The choice.
  std::string backend;  // "onnxruntime"
  int threads = 1;      // of one instance
  int instances = 1;
  int batch = 1;
  // What was measured of it; for people.
  double cpu_ms = 0;  // of CPU time, for one picture
  double pictures_per_s = 0;
};

absl::StatusOr<ModelTuning> ParseModelTuning(std::string_view yaml, const std::string& where);
std::string FormatModelTuning(const ModelTuning& tuning);

// NotFound when there is no such file.
absl::StatusOr<ModelTuning> ReadModelTuning(const std::string& path);

// Why a tuning says nothing about this model here, as a sentence; empty when it holds.
std::string WhyTuningDoesNotHold(const ModelTuning& tuning, const std::string& model_sha256,
                                 const MachineInfo& machine);

}  // namespace sightline
