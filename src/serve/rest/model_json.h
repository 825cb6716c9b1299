// What models are, do and have done, as JSON of the Open Inference Protocol and Triton's extensions
// "Model Configuration", "Statistics" and "Model Repository". Threads: reentrant.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "serve/inference/model_repository.h"
#include "serve/inference/served_model.h"
#include "serve/inference/service_settings.h"
#include "serve/inference/shared_memory.h"

namespace sightline::serve {

using Models = std::span<const std::shared_ptr<ServedModel>>;

// `versions`: all that are ready; `model` is the one that was asked for.
std::string MetadataJson(const ServedModel& model, Models versions);
std::string ConfigJson(const ServedModel& model);
std::string StatisticsJson(Models models);
std::string IndexJson(std::span<const ModelIndexEntry> index);
std::string SharedMemoryJson(std::span<const SharedRegionInfo> regions);
std::string TraceJson(const TraceSettings& settings);
std::string LoggingJson(const LogSettings& settings);

// Of requests. InvalidArgument for what is no such object.
absl::StatusOr<TraceSettings> ReadTraceJson(std::string_view text);
absl::StatusOr<LogSettings> ReadLoggingJson(std::string_view text);
struct SharedMemoryWish {
  std::string key;
  size_t offset = 0;
  size_t bytes = 0;
};
absl::StatusOr<SharedMemoryWish> ReadSharedMemoryJson(std::string_view text);
// {"ready": true}; nothing at all is false.
absl::StatusOr<bool> ReadIndexJson(std::string_view text);
// The names of the parameters of a request to load or unload.
absl::StatusOr<std::vector<std::string>> ReadLoadJson(std::string_view text);

}  // namespace sightline::serve
