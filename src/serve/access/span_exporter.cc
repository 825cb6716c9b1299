#include "serve/access/span_exporter.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json_text.h"
#include "base/log.h"
#include "base/thread.h"
#include "serve/access/api_key.h"
#include "serve/access/trace_context.h"

namespace sightline::serve {
namespace {

using Json = nlohmann::ordered_json;

// Numbers of 64 bits are texts in this encoding.
Json Attribute(const char* key, const std::string& value) {
  return {{"key", key}, {"value", {{"stringValue", value}}}};
}
Json Attribute(const char* key, int64_t value) {
  return {{"key", key}, {"value", {{"intValue", std::to_string(value)}}}};
}

std::string Nanoseconds(int64_t utc_us) { return std::to_string(utc_us * 1000); }

Json Span(const AccessRecord& record, const std::string& span_id, const std::string& parent,
          const std::string& name, int kind, int64_t from_us, int64_t to_us) {
  Json span = {{"traceId", record.trace_id}, {"spanId", span_id}};
  if (!parent.empty()) span["parentSpanId"] = parent;
  span["name"] = name;
  span["kind"] = kind;
  span["startTimeUnixNano"] = Nanoseconds(record.began_utc_us + from_us);
  span["endTimeUnixNano"] = Nanoseconds(record.began_utc_us + std::max(from_us, to_us));
  return span;
}

// Attributes by OpenTelemetry's semantic conventions, where these have a name.
Json RequestSpan(const AccessRecord& record) {
  constexpr int kServer = 2;
  const bool is_http = record.protocol == "http";
  const std::string route = record.route.empty() ? "unknown" : record.route;
  Json span = Span(record, record.span_id, record.parent_span,
                   is_http ? record.method + " " + route : route, kServer, 0, record.took_us);
  Json attributes = Json::array();
  if (is_http) {
    attributes.push_back(Attribute("http.request.method", record.method));
    attributes.push_back(Attribute("http.route", route));
    attributes.push_back(Attribute("http.response.status_code", int64_t{record.status}));
  } else {
    attributes.push_back(Attribute("rpc.system", std::string("grpc")));
    attributes.push_back(Attribute("rpc.method", route));
    attributes.push_back(Attribute("rpc.grpc.status_code", int64_t{record.status}));
  }
  if (!record.client.empty()) attributes.push_back(Attribute("client.address", record.client));
  if (!record.model.empty())
    attributes.push_back(Attribute("sightline.model", WithoutKeys(record.model)));
  if (!record.key_id.empty()) attributes.push_back(Attribute("sightline.key_id", record.key_id));
  attributes.push_back(Attribute("sightline.request_id", record.request_id));
  span["attributes"] = std::move(attributes);
  if (record.failed()) span["status"] = {{"code", 2}};
  return span;
}

}  // namespace

std::string SpansJson(const std::vector<AccessRecord>& records, const std::string& version) {
  constexpr int kInternal = 1;
  Json spans = Json::array();
  for (const AccessRecord& record : records) {
    spans.push_back(RequestSpan(record));
    if (record.submitted_us >= 0 && record.computing_us >= record.submitted_us) {
      spans.push_back(Span(record, NewSpanId(), record.span_id, "queue", kInternal,
                           record.submitted_us, record.computing_us));
    }
    if (record.computing_us >= 0 && record.computed_us >= record.computing_us) {
      spans.push_back(Span(record, NewSpanId(), record.span_id, "compute", kInternal,
                           record.computing_us, record.computed_us));
    }
  }
  const Json resource = {{"attributes",
                          {Attribute("service.name", std::string("sightline")),
                           Attribute("service.version", version)}}};
  Json scope = {{"scope", {{"name", "sightline"}}}, {"spans", std::move(spans)}};
  Json all = {{"resource", resource}, {"scopeSpans", Json::array({std::move(scope)})}};
  return JsonText(Json{{"resourceSpans", Json::array({std::move(all)})}});
}

absl::StatusOr<std::unique_ptr<SpanExporter>> SpanExporter::Open(SpanExporterOptions options) {
  const absl::Status valid = net::OriginOf(options.url).status();
  if (!valid.ok()) return WithContext(valid, "the address of the traces' collector");
  const std::string_view url = options.url;
  const size_t host = url.find("://") + 3;
  if (url.substr(host, url.find_first_of("/?#", host) - host).find('@') != std::string_view::npos) {
    return InvalidArgument("the address of the traces' collector has a user's name in it");
  }
  std::unique_ptr<SpanExporter> exporter(new SpanExporter(std::move(options)));
  SL_ASSIGN_OR_RETURN(exporter->client_, net::HttpClient::Create({}));
  SL_ASSIGN_OR_RETURN(exporter->thread_,
                      StartThread("otlp", [raw = exporter.get()] { raw->Loop(); }));
  return exporter;
}

SpanExporter::~SpanExporter() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  stop_.Cancel();
  wake_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void SpanExporter::Add(AccessRecord record) {
  bool wake = false;
  {
    const MutexLock lock(mutex_);
    if (waiting_.size() >= options_.max_waiting) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    waiting_.push_back(std::move(record));
    wake = waiting_.size() == 1 || waiting_.size() == options_.max_batch;
  }
  if (wake) wake_.NotifyOne();
}

bool SpanExporter::Post(const std::string& body, int64_t timeout_us, net::CancelSignal* cancel,
                        int64_t* wait_us, bool* taken) {
  net::HttpRequest request;
  request.method = "POST";
  request.url = options_.url;
  request.headers = {{"Content-Type", "application/json"}};
  request.body = body;
  request.timeout_us = timeout_us;
  request.cancel = cancel;
  const auto answer = client_->Fetch(request);
  *taken = answer.ok() && answer->status >= 200 && answer->status < 300;
  if (*taken) {
    if (std::exchange(told_, false)) Log().info("the collector of traces takes spans again");
    return true;
  }
  if (cancel != nullptr && cancel->cancelled()) return false;
  if (!std::exchange(told_, true)) {
    Log().warn("the collector of traces does not take spans: {}",
               answer.ok() ? fmt::format("status {}", answer->status)
                           : std::string(MessageOf(answer.status())));
  }
  if (!answer.ok()) return false;
  if (answer->retry_after_us) *wait_us = std::max(*wait_us, *answer->retry_after_us);
  const int status = answer->status;
  return status != 429 && status != 502 && status != 503 && status != 504;
}

void SpanExporter::Loop() {
  constexpr int64_t kLastUs = 2'000'000;
  std::vector<AccessRecord> batch;
  while (true) {
    bool stopping = false;
    {
      const MutexLock lock(mutex_);
      while (waiting_.empty() && !stopping_) wake_.Wait(mutex_);
      const auto until =
          std::chrono::steady_clock::now() + std::chrono::microseconds(options_.gather_us);
      while (waiting_.size() < options_.max_batch && !stopping_) {
        const auto rest = std::chrono::duration_cast<std::chrono::microseconds>(
            until - std::chrono::steady_clock::now());
        if (rest.count() <= 0) break;
        wake_.WaitFor(mutex_, rest);
      }
      stopping = stopping_;
      const size_t count =
          stopping ? waiting_.size() : std::min(waiting_.size(), options_.max_batch);
      const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(count);
      batch.assign(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
      waiting_.erase(waiting_.begin(), end);
    }
    if (batch.empty()) {
      if (stopping) return;
      continue;
    }
    const std::string body = SpansJson(batch, options_.version);
    bool taken = false;
    int64_t wait_us = options_.first_wait_us;
    for (int tried = 1; !stopping; ++tried) {
      if (Post(body, options_.timeout_us, &stop_, &wait_us, &taken) || tried == kMostTries) break;
      stopping = stop_.WaitFor(wait_us);
      wait_us *= 2;
    }
    // The last chance of what waits at the end, and of what the end interrupted.
    if (!taken && stopping) Post(body, kLastUs, nullptr, &wait_us, &taken);
    (taken ? sent_ : failed_).fetch_add(batch.size(), std::memory_order_relaxed);
  }
}

SpanExporterStats SpanExporter::stats() const {
  return {sent_.load(std::memory_order_relaxed), dropped_.load(std::memory_order_relaxed),
          failed_.load(std::memory_order_relaxed)};
}

}  // namespace sightline::serve
