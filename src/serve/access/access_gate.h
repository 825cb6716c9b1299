// The gate of `sightline serve`: keys and roles, limits, request ids, trace context, the access log and
// traces; one for HTTP, metrics and gRPC.
//
// Without a file of keys everyone may do everything that is not turned off, within the limits of his
// address. With one nobody may do anything without a key, but what `open_health` and `open_metrics` open.
//
// Threads: safe, but for HttpGate's functions of one server, which are its thread's.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/metrics.h"
#include "base/status.h"
#include "base/time.h"
#include "serve/access/access_log.h"
#include "serve/access/key_table.h"
#include "serve/access/rate_limit.h"
#include "serve/access/span_exporter.h"
#include "serve/http/http_gate.h"

namespace sightline::serve {

// As the configuration has it (docs/serving_access.md).
struct AccessOptions {
  std::string keys;  // the file; "": no keys
  bool open_health = false;
  bool open_metrics = false;
  bool model_control = true;  // loading and unloading, settings of log and traces over the network
  CallerLimits address_limits;  // of callers without a key, by address
  std::string access_log;       // "stdout" or a file; "": none
  std::string otlp;             // the collector's URL; "": none
  double trace_sampling =
      1;  // the share of traces that begin here; others are as their caller says
};

// What the gate needs of the rest. All may be empty.
struct AccessParts {
  std::string version;  // of the program
  // Asks the model for room: how long its queue is beyond what may be waited for, in us; below 0: it keeps
  // room for the request; 0: nobody knows, and the request comes.
  std::function<int64_t(std::string_view model, std::string_view version)> reserve = {};
  const Clock* clock = &Clock::Real();
  bool watch_keys = true;  // KeyTable::Open
};

enum class RefusalKind : uint8_t {
  kKey,      // none, or one that is not known, expired or revoked
  kRole,     // may not do that
  kControl,  // turned off for everyone
  kModel,    // not this one
  kRate,
  kConcurrency,
  kOverload,
};
std::string_view ToString(RefusalKind kind);  // "key"

struct Refusal {
  RefusalKind kind = RefusalKind::kKey;
  std::string message;
  int64_t retry_after_us = 0;  // 0: no sooner or later
  bool has_key = false;        // of kKey: something was sent
};

// A caller as his protocol has him. Views of the request.
struct Caller {
  std::string_view authorization, x_api_key;
  std::string_view request_id;
  std::string_view traceparent, tracestate;
  std::string_view client;  // address
};

class AccessGate final : public HttpGate {
 public:
  // Errors are those of the key file, the log's file and the collector's URL.
  static absl::StatusOr<std::unique_ptr<AccessGate>> Open(const AccessOptions& options,
                                                          AccessParts parts);
  ~AccessGate() override;

  // HttpGate:
  std::optional<HttpResponse> Admit(HttpRequest& head, std::string_view route,
                                    const RouteOptions& options) override;
  // As long as the key is valid and still allows what it did.
  bool MayGoOn(const HttpExchange& exchange) override;
  void Ended(const HttpExchange& exchange) override;

  struct Entry {
    std::shared_ptr<RequestContext> context;  // never null
    std::optional<Refusal> refusal;
  };
  // For any protocol. `model`: "" where none is meant. `counts`: whether limits count it.
  Entry Enter(const Caller& caller, RouteRole needed, std::string_view model, bool counts = true);
  // Whether there is anybody to tell of requests that are over.
  bool records() const { return log_ != nullptr || spans_ != nullptr; }
  // Whether anything is refused by what a caller is.
  bool checks_callers() const { return keys_ != nullptr || !options_.model_control; }
  // To the log and the traces.
  void Record(AccessRecord record);
  // What a record has of a context; `began_us` on the monotonic clock.
  void Describe(const RequestContext& context, int64_t began_us, AccessRecord& record) const;

  // The access log's file was moved away.
  void ReopenLog();
  void CollectMetrics(MetricWriter& writer) const;
  const Clock& clock() const { return *parts_.clock; }

 private:
  AccessGate(const AccessOptions& options, AccessParts parts);
  std::shared_ptr<RequestContext> ContextOf(const Caller& caller) const;
  std::optional<Refusal> Check(const Caller& caller, RouteRole needed, std::string_view model,
                               bool counts, RequestContext& context);
  std::optional<Refusal> Count(const std::string& who, const CallerLimits& limits,
                               RequestContext& context);

  const AccessOptions options_;
  const AccessParts parts_;
  std::unique_ptr<KeyTable> keys_;  // null: no keys
  RateLimiter limiter_;
  std::unique_ptr<AccessLog> log_;
  std::unique_ptr<SpanExporter> spans_;
  std::array<std::atomic<uint64_t>, 7> refused_{};  // by RefusalKind
};

// 401 with WWW-Authenticate, 403, 429 or 503 with Retry-After.
HttpResponse RefusalAnswer(const Refusal& refusal);

}  // namespace sightline::serve
