// What is known of one request beside what it asks: who asks, as part of which trace, and how long its
// parts took. Made by the gate (serve/http/http_gate.h) or by the gRPC server, and carried through the
// model to the access log.
//
// Whoever works on the request holds it; limits on how many requests a caller has at once end with it
// (`ticket`), also where the caller left long before the model was done.
// Threads: what stands in the first part is written before the handler sees the request, and only read
// afterwards. The times are written by the model's thread and read by the one that writes the log.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sightline::serve {

struct RequestContext {
  uint32_t source = 0;      // for the batcher's fairness; 0: nobody in particular
  std::string key_id;       // the part of the caller's key that may be shown; "": no key
  std::string request_id;   // [A-Za-z0-9._-], comes back as X-Request-Id
  std::string trace_id;     // 32 hexadecimal digits; "": no trace
  std::string span_id;      // 16, of this request
  std::string parent_span;  // 16, of the caller's; "": none
  bool sampled = false;     // whether its spans are exported
  // Models that the caller may use; null: all.
  std::shared_ptr<const std::vector<std::string>> models;
  // Put on the answer, whatever it is: names and values of headers.
  std::vector<std::pair<std::string, std::string>> answer_headers;
  // Why the gate let it not in, or, where it listens, not go on: a word of the program. "": it did.
  std::string_view refused;
  std::shared_ptr<const void> ticket;
  // Takes so many tokens more from the caller's rate than the one that let the request in, whether they are
  // there or not; empty: there is no rate. For requests that turn out to be several. From any thread.
  std::function<void(int64_t more)> charge;

  void Charge(size_t more) const {
    if (charge && more > 0) charge(static_cast<int64_t>(more));
  }
  bool MayUse(std::string_view model) const {
    if (models == nullptr) return true;
    for (const std::string& one : *models) {
      if (one == model) return true;
    }
    return false;
  }

  // The model holds room for it since its head came (admission.h); taken back by the first inference.
  std::atomic<bool> reserved{false};
  // On the monotonic clock, in us; 0: it never came to that. Of the last inference of the request.
  std::atomic<int64_t> submitted_us{0};  // to the model's queue
  std::atomic<int64_t> began_us{0};      // the batch that it was in
  std::atomic<int64_t> computed_us{0};   // outputs are there
};

}  // namespace sightline::serve
