// What clients may look at and change about traces and the log while the server runs, as Triton's
// extensions "Trace" and "Logging" have it.
//
// Threads: safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"

namespace sightline::serve {

// Texts by key, as both protocols carry them; a list has more than one text.
using TraceSettings = std::map<std::string, std::vector<std::string>>;
using LogSettings = std::map<std::string, std::variant<bool, uint32_t, std::string>>;

class ServiceSettings {
 public:
  // `trace_file`: where traces are written; "": nowhere.
  explicit ServiceSettings(const std::string& trace_file = "");

  // Of a model, or with "" those of all that have none of their own.
  TraceSettings Trace(const std::string& model) const EXCLUDES(mutex_);
  // Changes what is named; an empty list takes the setting back to the general one, or to the one at
  // the start. InvalidArgument for a key or value that is none, and for switching traces on where there is
  // no file for them; Unimplemented for tracing tensors.
  absl::StatusOr<TraceSettings> ChangeTrace(const std::string& model, const TraceSettings& changes)
      EXCLUDES(mutex_);

  // Whether this request to that model is one of those to be traced, which counts it. Cost: of servers that
  // trace nothing, an atomic look.
  bool SampleTrace(const std::string& model) EXCLUDES(mutex_);

  LogSettings Logging() const EXCLUDES(mutex_);
  // Takes effect at once: the log's level is the most talkative one that is on. InvalidArgument for a
  // key or value that is none, or that is not changed over the network (log_file).
  absl::StatusOr<LogSettings> ChangeLogging(const LogSettings& changes) EXCLUDES(mutex_);

 private:
  absl::Status CheckTrace(const std::string& key, const std::vector<std::string>& values) const;
  bool AnyTraces() const REQUIRES(mutex_);

  const std::string trace_file_;
  std::atomic<bool> any_traces_{false};
  mutable Mutex mutex_;
  std::map<std::string, uint64_t> requests_
      GUARDED_BY(mutex_);  // by model, of those that are traced
  TraceSettings trace_ GUARDED_BY(mutex_);
  std::map<std::string, TraceSettings> trace_of_models_ GUARDED_BY(mutex_);
  LogSettings logging_ GUARDED_BY(mutex_);
};

}  // namespace sightline::serve
