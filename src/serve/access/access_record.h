// One request that is over, whatever protocol it came by: a line of the access log, and spans of a trace.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sightline::serve {

struct AccessRecord {
  std::string protocol;  // "http", "grpc"
  std::string method;    // "POST"; "" over gRPC
  std::string route;     // "/v2/models/{model}/infer", "inference.GRPCInferenceService/ModelInfer"
  std::string model;
  // HTTP's, 0 where the client left before an answer; over gRPC the code of the call.
  int status = 0;
  bool complete = false;  // the answer was sent whole
  uint64_t received_bytes = 0;
  uint64_t sent_bytes = 0;
  std::string client;
  std::string key_id;
  std::string request_id;
  std::string trace_id, span_id, parent_span;
  bool sampled = false;
  std::string refused;  // why the gate refused it: "key", "role", "model", "rate", "concurrency",
                        // "overload", "control"; "": it did not
  int64_t began_utc_us = 0;
  int64_t took_us = 0;
  // After the beginning; -1: it never came to that.
  int64_t submitted_us = -1;  // to the model's queue
  int64_t computing_us = -1;  // its batch began
  int64_t computed_us = -1;

  bool failed() const { return protocol == "grpc" ? status != 0 : status == 0 || status >= 500; }
};

}  // namespace sightline::serve
