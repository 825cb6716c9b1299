// Sends finished requests as spans to a collector of OpenTelemetry.
//
// Of each request: a span of kind SERVER under the caller's, and below it "queue" and "compute" where it
// came to a model. Protocol: OTLP over HTTP with JSON bodies (opentelemetry-proto 1.x, "JSON Protobuf
// Encoding").
//
// A collector that is slow, wrong or away costs spans and nothing else: a bounded queue, whose drops are
// counted, stands before the thread "otlp"; what the collector asks to be sent again (429, 502, 503, 504)
// and what did not reach it is tried kMostTries times.
// Threads: Add() from any, never blocks.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "net/cancel_signal.h"
#include "net/http_client.h"
#include "serve/access/access_record.h"

namespace sightline::serve {

struct SpanExporterOptions {
  std::string url;                    // "http://collector:4318/v1/traces"
  std::string version;                // of the program
  size_t max_waiting = 4096;          // requests; chosen
  size_t max_batch = 512;             // of one POST; chosen
  int64_t gather_us = 1'000'000;      // how long the first of a batch waits for others; chosen
  int64_t timeout_us = 10'000'000;    // of a POST; as OpenTelemetry's own exporters
  int64_t first_wait_us = 1'000'000;  // before the second try; doubles
};

struct SpanExporterStats {
  uint64_t sent = 0;     // requests whose spans the collector took
  uint64_t dropped = 0;  // the queue was full
  uint64_t failed = 0;   // given up
};

class SpanExporter {
 public:
  static constexpr int kMostTries = 4;

  // InvalidArgument for a URL that is none, or has a user's name in it (which would be shown).
  static absl::StatusOr<std::unique_ptr<SpanExporter>> Open(SpanExporterOptions options);
  ~SpanExporter();  // tries once more to send what waits, for at most two seconds

  void Add(AccessRecord record) EXCLUDES(mutex_);
  SpanExporterStats stats() const;

 private:
  explicit SpanExporter(SpanExporterOptions options) : options_(std::move(options)) {}
  void Loop() EXCLUDES(mutex_);
  // Whether it need not be tried again.
  bool Post(const std::string& body, int64_t timeout_us, net::CancelSignal* cancel,
            int64_t* wait_us, bool* taken);

  const SpanExporterOptions options_;
  std::unique_ptr<net::HttpClient> client_;
  net::CancelSignal stop_;
  Mutex mutex_;
  CondVar wake_;
  std::vector<AccessRecord> waiting_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::atomic<uint64_t> sent_{0}, dropped_{0}, failed_{0};
  bool told_ = false;  // of the thread: the collector's failing was said
  std::thread thread_;
};

// The body of one POST.
std::string SpansJson(const std::vector<AccessRecord>& records, const std::string& version);

}  // namespace sightline::serve
