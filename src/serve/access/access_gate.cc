#include "serve/access/access_gate.h"

#include <utility>

#include "base/ascii_text.h"
#include "base/uuid.h"
#include "serve/access/api_key.h"
#include "serve/access/trace_context.h"
#include "serve/http/client_address.h"

namespace sightline::serve {
namespace {

using enum MetricType;

constexpr MetricInfo kRefused = {"sightline_access_refused_total", kCounter,
                                 "Requests that were not let in, by reason"};
constexpr MetricInfo kKeys = {"sightline_access_keys", kGauge, "API keys in the file"};
constexpr MetricInfo kLogged = {"sightline_access_log_lines_total", kCounter,
                                "Lines of the access log, by what became of them"};
constexpr MetricInfo kTraced = {"sightline_traced_requests_total", kCounter,
                                "Requests for the traces' collector, by what became of them"};

constexpr size_t kLongestModel = 200;
// Sources of the batcher: keys count from 1, addresses have the upper half.
constexpr uint32_t kAddressSource = uint32_t{1} << 31;

}  // namespace

std::string_view ToString(RefusalKind kind) {
  switch (kind) {
    case RefusalKind::kKey:
      return "key";
    case RefusalKind::kRole:
      return "role";
    case RefusalKind::kControl:
      return "control";
    case RefusalKind::kModel:
      return "model";
    case RefusalKind::kRate:
      return "rate";
    case RefusalKind::kConcurrency:
      return "concurrency";
    case RefusalKind::kOverload:
      return "overload";
  }
  return "";
}

AccessGate::AccessGate(const AccessOptions& options, AccessParts parts)
    : options_(options), parts_(std::move(parts)), limiter_(*parts_.clock) {}
AccessGate::~AccessGate() = default;

absl::StatusOr<std::unique_ptr<AccessGate>> AccessGate::Open(const AccessOptions& options,
                                                             AccessParts parts) {
  std::unique_ptr<AccessGate> gate(new AccessGate(options, std::move(parts)));
  if (!options.keys.empty()) {
    SL_ASSIGN_OR_RETURN(gate->keys_,
                        KeyTable::Open(options.keys, gate->parts_.watch_keys, *gate->parts_.clock));
  }
  if (!options.access_log.empty()) {
    SL_ASSIGN_OR_RETURN(gate->log_, AccessLog::Open(options.access_log));
  }
  if (!options.otlp.empty()) {
    SpanExporterOptions spans;
    spans.url = options.otlp;
    spans.version = gate->parts_.version;
    SL_ASSIGN_OR_RETURN(gate->spans_, SpanExporter::Open(std::move(spans)));
  }
  return gate;
}

std::shared_ptr<RequestContext> AccessGate::ContextOf(const Caller& caller) const {
  auto context = std::make_shared<RequestContext>();
  context->request_id =
      IsRequestId(caller.request_id) ? std::string(caller.request_id) : NewSpanId();
  context->answer_headers.reserve(6);
  context->answer_headers.emplace_back("X-Request-Id", context->request_id);
  std::optional<TraceParent> parent = ParseTraceparent(caller.traceparent);
  if (!parent && spans_ == nullptr) return context;
  context->span_id = NewSpanId();
  if (parent) {
    context->trace_id = std::move(parent->trace_id);
    context->parent_span = std::move(parent->span_id);
    context->sampled = parent->sampled;
    if (!caller.tracestate.empty() && IsTracestate(caller.tracestate)) {
      context->answer_headers.emplace_back("tracestate", std::string(caller.tracestate));
    }
  } else {
    context->trace_id = NewTraceId();
    context->sampled = IsInSample(context->trace_id, options_.trace_sampling);
  }
  context->answer_headers.emplace_back(
      "traceparent", TraceparentText(context->trace_id, context->span_id, context->sampled));
  return context;
}

AccessGate::Entry AccessGate::Enter(const Caller& caller, RouteRole needed, std::string_view model,
                                    bool counts) {
  Entry entry;
  entry.context = ContextOf(caller);
  entry.refusal = Check(caller, needed, model, counts, *entry.context);
  if (entry.refusal) {
    entry.context->refused = ToString(entry.refusal->kind);
    refused_[static_cast<size_t>(entry.refusal->kind)].fetch_add(1, std::memory_order_relaxed);
  }
  return entry;
}

std::optional<Refusal> AccessGate::Check(const Caller& caller, RouteRole needed,
                                         std::string_view model, bool counts,
                                         RequestContext& context) {
  const std::string_view text =
      keys_ == nullptr ? std::string_view() : KeyOf(caller.authorization, caller.x_api_key);
  const std::shared_ptr<const KnownKey> key = text.empty() ? nullptr : keys_->Find(text);
  if (key != nullptr) {
    context.key_id = key->record.id;
    context.source = key->source;
    context.models = key->models;
  } else {
    context.source =
        kAddressSource | static_cast<uint32_t>(HashString(NetworkOf(caller.client)).low);
  }
  const bool is_open = (needed == RouteRole::kHealth && options_.open_health) ||
                       (needed == RouteRole::kMetrics && options_.open_metrics);
  if (keys_ != nullptr && key == nullptr && !is_open) {
    const bool has_key = !text.empty();
    return Refusal{RefusalKind::kKey,
                   has_key ? "this API key is not known, has expired or was revoked"
                           : "an API key is needed: Authorization: Bearer KEY",
                   0, has_key};
  }
  if (key != nullptr && !is_open && !MayDo(key->record.role, needed)) {
    return Refusal{
        RefusalKind::kRole,
        fmt::format("the role of this API key, {}, does not allow it", ToString(key->record.role))};
  }
  if (needed == RouteRole::kControl && !options_.model_control) {
    return Refusal{RefusalKind::kControl, "this is turned off here (model_control)"};
  }
  if (!model.empty() && !context.MayUse(model)) {
    return Refusal{RefusalKind::kModel, "this API key is not for this model"};
  }
  if (!counts || is_open) return std::nullopt;
  if (key != nullptr) return Count(key->record.id, key->record.limits, context);
  if (caller.client.empty()) return std::nullopt;  // counted where the address is known
  return Count("@" + NetworkOf(caller.client), options_.address_limits, context);
}

std::optional<Refusal> AccessGate::Count(const std::string& who, const CallerLimits& limits,
                                         RequestContext& context) {
  RateAnswer answer = limiter_.Take(who, limits);
  for (auto& header : RateHeaders(answer)) context.answer_headers.push_back(std::move(header));
  context.ticket = std::move(answer.ticket);
  if (answer.admitted && answer.has_rate) {
    context.charge = [this, who](int64_t more) { limiter_.Charge(who, more); };
  }
  if (answer.admitted) return std::nullopt;
  if (answer.by_concurrency) {
    return Refusal{RefusalKind::kConcurrency,
                   fmt::format("{} requests of this caller are being worked on, which is the limit",
                               limits.concurrency),
                   answer.retry_after_us};
  }
  return Refusal{RefusalKind::kRate, "too many requests of this caller; try again later",
                 answer.retry_after_us};
}

std::optional<HttpResponse> AccessGate::Admit(HttpRequest& head, std::string_view route,
                                              const RouteOptions& options) {
  Caller caller;
  caller.authorization = head.Header("authorization");
  caller.x_api_key = head.Header("x-api-key");
  caller.request_id = head.Header("x-request-id");
  caller.traceparent = head.Header("traceparent");
  caller.tracestate = head.Header("tracestate");
  caller.client = head.client;
  // What is not there may be looked for by everyone who may look at anything.
  const RouteRole needed = route.empty() ? RouteRole::kViewer : options.role;
  const std::string_view model = head.Parameter("model");
  Entry entry = Enter(caller, needed, model);
  head.context = std::move(entry.context);
  if (!entry.refusal && needed == RouteRole::kInfer && parts_.reserve && !model.empty()) {
    const int64_t over_us = parts_.reserve(model, head.Parameter("version"));
    head.context->reserved = over_us < 0;
    if (over_us > 0) {
      entry.refusal = Refusal{RefusalKind::kOverload,
                              "too many requests wait for this model; try again later", over_us};
      head.context->refused = ToString(RefusalKind::kOverload);
      head.context->ticket.reset();
      refused_[static_cast<size_t>(RefusalKind::kOverload)].fetch_add(1, std::memory_order_relaxed);
    }
  }
  if (!entry.refusal) return std::nullopt;
  return RefusalAnswer(*entry.refusal);
}

bool AccessGate::MayGoOn(const HttpExchange& exchange) {
  const RequestContext* const context = exchange.context.get();
  if (keys_ == nullptr || context == nullptr || context->key_id.empty()) return true;
  const std::shared_ptr<const KnownKey> key = keys_->FindId(context->key_id);
  if (key == nullptr || !MayDo(key->record.role, exchange.role)) return false;
  const std::vector<std::string>& models = key->record.models;
  return context->models == nullptr ? models.empty() : *context->models == models;
}

HttpResponse RefusalAnswer(const Refusal& refusal) {
  int status = 403;
  if (refusal.kind == RefusalKind::kKey) status = 401;
  if (refusal.kind == RefusalKind::kOverload) status = 503;
  if (refusal.kind == RefusalKind::kRate || refusal.kind == RefusalKind::kConcurrency) status = 429;
  HttpResponse answer = ErrorResponse(status, refusal.message);
  if (status == 401) {  // RFC 6750, section 3
    answer.headers.emplace_back(
        "WWW-Authenticate", refusal.has_key ? "Bearer realm=\"sightline\", error=\"invalid_token\""
                                            : "Bearer realm=\"sightline\"");
  }
  if (refusal.retry_after_us > 0) {
    answer.headers.emplace_back("Retry-After", std::to_string(RetryAfterS(refusal.retry_after_us)));
  }
  return answer;
}

void AccessGate::Describe(const RequestContext& context, int64_t began_us,
                          AccessRecord& record) const {
  const int64_t now_us = parts_.clock->NowMonotonicUs();
  record.began_utc_us = parts_.clock->NowUtcUs() - (now_us - began_us);
  record.key_id = context.key_id;
  record.request_id = context.request_id;
  record.trace_id = context.trace_id;
  record.span_id = context.span_id;
  record.parent_span = context.parent_span;
  record.sampled = context.sampled;
  record.refused = context.refused;
  const auto after = [&](const std::atomic<int64_t>& at) {
    const int64_t us = at.load(std::memory_order_relaxed);
    return us == 0 ? -1 : us - began_us;
  };
  record.submitted_us = after(context.submitted_us);
  record.computing_us = after(context.began_us);
  record.computed_us = after(context.computed_us);
}

void AccessGate::Ended(const HttpExchange& exchange) {
  if (!records()) return;
  AccessRecord record;
  record.protocol = "http";
  record.method = ShownText(exchange.method, 16);
  record.route = exchange.route;
  record.model = ShownText(exchange.model, kLongestModel);
  record.status = exchange.status;
  record.complete = exchange.complete;
  record.received_bytes = exchange.body_bytes;
  record.sent_bytes = exchange.sent_bytes;
  record.client = exchange.client;
  if (exchange.context != nullptr) Describe(*exchange.context, exchange.began_us, record);
  record.took_us = exchange.ended_us - exchange.began_us;
  Record(std::move(record));
}

void AccessGate::Record(AccessRecord record) {
  // The words of clients, who put keys where they do not belong.
  for (std::string* const text : {&record.route, &record.model, &record.request_id}) {
    *text = WithoutKeys(*text);
  }
  if (spans_ != nullptr && record.sampled) spans_->Add(record);
  if (log_ != nullptr) log_->Add(std::move(record));
}

void AccessGate::ReopenLog() {
  if (log_ != nullptr) log_->Reopen();
}

void AccessGate::CollectMetrics(MetricWriter& writer) const {
  for (size_t i = 0; i < refused_.size(); ++i) {
    writer.Write(kRefused, {{"reason", ToString(static_cast<RefusalKind>(i))}},
                 static_cast<double>(refused_[i].load(std::memory_order_relaxed)));
  }
  if (keys_ != nullptr) writer.Write(kKeys, {}, static_cast<double>(keys_->size()));
  const auto write = [&](const MetricInfo& metric, std::string_view state, uint64_t value) {
    writer.Write(metric, {{"state", state}}, static_cast<double>(value));
  };
  if (log_ != nullptr) {
    const AccessLogStats stats = log_->stats();
    write(kLogged, "written", stats.written);
    write(kLogged, "dropped", stats.dropped);
    write(kLogged, "failed", stats.failed);
  }
  if (spans_ != nullptr) {
    const SpanExporterStats stats = spans_->stats();
    write(kTraced, "sent", stats.sent);
    write(kTraced, "dropped", stats.dropped);
    write(kTraced, "failed", stats.failed);
  }
}

}  // namespace sightline::serve
