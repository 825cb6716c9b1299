// A request of which the server's gate was told, until it is told of the end. Internal to serve/http.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "serve/http/http_gate.h"

namespace sightline::serve {

class GatedExchange {
 public:
  GatedExchange() = default;
  GatedExchange(GatedExchange&& other) noexcept = default;
  GatedExchange& operator=(GatedExchange&&) = delete;
  ~GatedExchange() { End(); }

  // Asks the gate, which must outlive this; what it gives is to be sent instead of an answer.
  std::optional<HttpResponse> Begin(HttpGate& gate, HttpRequest& head, const Router::Found& route,
                                    int64_t began_us);
  // Tells the gate, where there was a beginning.
  void End() noexcept;

  // Null before Begin() and after End().
  HttpExchange* get() { return exchange_.get(); }

 private:
  HttpGate* gate_ = nullptr;
  std::unique_ptr<HttpExchange> exchange_;
};

}  // namespace sightline::serve
