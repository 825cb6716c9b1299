// The times of single requests in a file, as Triton's extension "Trace" at the level TIMESTAMPS has them: a JSON
// array with two objects for each request, {"id", "model_name", "model_version"} and {"id", "timestamps":
// [{"name", "ns"}, ...]}, in nanoseconds of the monotonic clock.
//
// Threads: Write() from any; a thread of its own writes the file. Bounds: kMostWaiting traces wait for it,
// more are left out and counted. What is in the file after a crash lacks the closing "]".
// Source: Triton's protocol extension "Trace"; its server's documentation of traces.
#pragma once

#include <atomic>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "base/bounded_queue.h"
#include "base/status.h"
#include "serve/inference/model_statistics.h"

namespace sightline::serve {

class RequestTraces {
 public:
  static constexpr size_t kMostWaiting = 4096;  // chosen

  // Writes to `file`, or to file.1, file.2, ... where there is one already. InvalidArgument where nothing can
  // be written.
  static absl::StatusOr<std::unique_ptr<RequestTraces>> Open(const std::string& file);
  ~RequestTraces();  // writes what waits

  // Never waits. Times that did not come are 0 and left out.
  void Write(const std::string& model, const std::string& version, const CallTimes& times,
             int64_t ended_us);

  const std::string& file() const { return file_; }  // the one that is written
  uint64_t left_out() const { return left_out_.load(std::memory_order_relaxed); }

 private:
  RequestTraces(std::string file, std::ofstream to)
      : file_(std::move(file)), to_(std::move(to)), queue_(kMostWaiting, QueuePolicy::kBlock) {}
  void Loop();

  const std::string file_;
  std::ofstream to_;
  std::atomic<uint64_t> next_id_{1};
  std::atomic<uint64_t> left_out_{0};
  BoundedQueue<std::string> queue_;
  std::thread thread_;
};

}  // namespace sightline::serve
