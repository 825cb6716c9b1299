// What a configuration leaves open of its models, filled with what `models tune` found here.
#pragma once

#include "infer/model_tuning.h"
#include "pipeline/config/config.h"

namespace sightline::cli {

// Of every model of which the configuration gives none of backend, providers, instances, threads and
// batch.max, where --threads and limits.threads are not given either. A tuning that does not hold (of
// another processor or model file, or unreadable) is left out and noted in the log.
void ApplyTuning(Config& config);

// Backend, threads, instances and batch as the tuning has them.
void ApplyTuning(const ModelTuning& tuning, ModelConfig& model);

// How many detectors of that model run at once, and with how many threads each, on `cores`.
int InstancesOf(const ModelConfig& model, int cores);

}  // namespace sightline::cli
