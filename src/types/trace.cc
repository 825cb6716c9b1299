#include "types/trace.h"

#include <algorithm>

namespace sightline {
namespace {

void AppendHex(uint64_t value, std::string& to) {
  for (int shift = 60; shift >= 0; shift -= 4) to += "0123456789abcdef"[(value >> shift) & 0xF];
}

}  // namespace

FrameTrace TraceOf(const Hash128& camera_identity, const FrameMeta& frame) {
  const auto hash = [&](uint64_t what) {
    return FieldHasher()
        .Add(what)
        .Add(camera_identity)
        .Add(frame.time.epoch)
        .Add(frame.time.capture_utc_us)
        .Add(frame.ordinal)
        .Finish();
  };
  FrameTrace trace{.trace_id = hash(1), .span_id = hash(2).low};
  // All zeros would mean "none" to readers.
  trace.trace_id.low = std::max<uint64_t>(trace.trace_id.low, 1);
  trace.span_id = std::max<uint64_t>(trace.span_id, 1);
  return trace;
}

void AppendTraceparent(const FrameTrace& trace, std::string& to) {
  to += "00-";
  AppendHex(trace.trace_id.high, to);
  AppendHex(trace.trace_id.low, to);
  to += '-';
  AppendHex(trace.span_id, to);
  to += "-01";
}

}  // namespace sightline
