// The trace that a request is a part of, as its caller says it.
//
// Source: W3C Trace Context, level 1 (version 00; later versions are read by their first four fields, as
// it asks). Threads: reentrant.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sightline::serve {

struct TraceParent {
  std::string trace_id;  // 32 hexadecimal digits in lower case, not all 0
  std::string span_id;   // 16, not all 0
  bool sampled = false;
};

// nullopt for what is none: it is then as good as not sent.
std::optional<TraceParent> ParseTraceparent(std::string_view text);
std::string TraceparentText(std::string_view trace_id, std::string_view span_id, bool sampled);

// Whether it is a list of at most 32 members KEY=VALUE, at most 512 bytes, no key twice.
bool IsTracestate(std::string_view text);

// Random ids, from a generator that the system seeded: unlike others, but no secrets. Threads: safe.
std::string NewTraceId();
std::string NewSpanId();

// Whether a trace of that id is among the share `ratio`: the same at every server that asks the same.
bool IsInSample(std::string_view trace_id, double ratio);

// Whether it may be used as it is: 1 to 128 characters of letters, digits, "-", "_", ".".
bool IsRequestId(std::string_view text);

}  // namespace sightline::serve
