#include <exception>

#include "base/log.h"
#include "base/time.h"
#include "serve/http/gated_exchange_internal.h"

namespace sightline::serve {

std::optional<HttpResponse> GatedExchange::Begin(HttpGate& gate, HttpRequest& head,
                                                 const Router::Found& route, int64_t began_us) {
  if (route.options.model_in_query) {
    for (const char* const name : {"model", "version"}) {
      auto value = head.QueryValue(name);
      if (value) head.parameters.emplace_back(name, *std::move(value));
    }
  }
  auto exchange = std::make_unique<HttpExchange>();
  exchange->method = head.method;
  exchange->route = route.pattern;
  exchange->role = route.options.role;
  exchange->model = head.Parameter("model");
  exchange->client = head.client;
  exchange->began_us = began_us;
  gate_ = &gate;
  exchange_ = std::move(exchange);
  std::optional<HttpResponse> refusal;
  try {
    refusal = gate.Admit(head, route.pattern, route.options);
  } catch (const std::exception& thrown) {
    Log().error("the gate of the server: {}", thrown.what());
    refusal = ErrorResponse(500, "an error inside; the log says more");
  }
  exchange_->context = head.context;
  return refusal;
}

void GatedExchange::End() noexcept {
  if (exchange_ == nullptr) return;
  const std::unique_ptr<HttpExchange> exchange = std::move(exchange_);
  exchange->ended_us = Clock::Real().NowMonotonicUs();
  try {
    gate_->Ended(*exchange);
  } catch (const std::exception& thrown) {
    Log().error("the gate of the server: {}", thrown.what());
  }
}

}  // namespace sightline::serve
