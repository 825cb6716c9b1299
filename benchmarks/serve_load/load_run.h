// What a load is, when its requests arrive, and what came of them.
//
// A phase is open (requests arrive at times that are fixed before anything is sent, whatever the server does, and
// latency counts from there: a server that stalls is not asked less) or closed (every connection asks again when it
// was answered). Times are of the monotonic clock, in nanoseconds. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "serve_load/latency_histogram.h"

namespace sightline::load {

struct Phase {
  std::string name;
  double rate = 0;  // requests a second; 0: closed
  double seconds = 0;
};

struct LoadOptions {
  std::string host = "127.0.0.1";
  std::string port;
  bool grpc = false;
  std::string path;                  // HTTP
  std::vector<std::string> headers;  // HTTP, "Name: value"
  std::string key;                   // as "authorization: Bearer KEY"; may be empty
  std::vector<std::string> bodies;   // sent in rotation: HTTP bodies, or gRPC messages
  size_t connections =
      1;  // of a closed phase, and the most of an open one; with gRPC: requests under way
  size_t channels = 1;  // gRPC: TCP connections
  std::vector<Phase> phases;
  double patience_s = 10;  // an arrival that could not be sent for so long is given up
  bool poisson = true;     // arrivals of open phases; else evenly spaced
  double interval_s = 0;   // of the timeline; 0: none
  uint64_t seed = 1;
};

int64_t NowNs();
double CpuSeconds();  // of this process

class LoadRun {
 public:
  explicit LoadRun(const LoadOptions& options);

  // The clock of the load begins to run: the first phase begins now.
  void Begin();
  // When the next request of an open phase arrives; nullopt when there is none any more.
  std::optional<int64_t> NextArrivalNs() const { return next_; }
  void TakeArrival();
  // Tells on standard output which phases have begun and ended by now ({"event": ..., "phase": ...}).
  void Tell(int64_t now_ns);
  // When Tell() has something to tell again, and the end of the last phase.
  int64_t NextEventNs() const;
  int64_t EndNs() const { return begins_.back(); }
  // Whether a connection that is free is to ask at once.
  bool Closed(int64_t now_ns) const;

  enum class Kind { kAccepted, kRefused, kFailed, kGivenUp, kUnanswered };
  // status: of HTTP or gRPC; -1: the connection broke. polite: a refusal says when to come again.
  void Answered(int64_t arrival_ns, int64_t sent_ns, int64_t now_ns, Kind kind, int status,
                size_t bytes, bool polite);
  void NotAnswered(int64_t arrival_ns, Kind kind);
  void Connected() { ++connects_; }

  std::string Report() const;  // a line of JSON

 private:
  struct Result {
    LatencyHistogram accepted;          // from the arrival
    LatencyHistogram accepted_service;  // from sending
    LatencyHistogram refused_service;
    std::map<int, uint64_t> statuses;
    uint64_t failed = 0, given_up = 0, unanswered = 0, impolite = 0, bytes = 0;
    double cpu_s = 0;  // of this process, during the phase
  };
  struct Interval {
    std::vector<float> accepted_ms;  // by when they were answered, from sending
    std::vector<float> refused_ms;
    uint64_t failed = 0;
  };
  size_t PhaseAt(int64_t ns) const;
  void Advance();

  const LoadOptions& options_;
  std::vector<int64_t> begins_;  // of the phases, and the end of the last
  std::vector<Result> results_;
  std::vector<Interval> timeline_;
  std::optional<int64_t> next_;
  double within_s_ = 0;  // the next arrival, from its phase's begin
  size_t arriving_ = 0;  // its phase
  size_t told_ = 0;
  double cpu_at_ = 0;
  uint64_t connects_ = 0;
  std::mt19937_64 dice_;
};

// Sends the load; the sentence of what went wrong, empty when it ran.
std::string RunHttp(const LoadOptions& options, LoadRun& run);
std::string RunGrpc(const LoadOptions& options, LoadRun& run);

}  // namespace sightline::load
