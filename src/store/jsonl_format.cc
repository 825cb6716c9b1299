#include "store/jsonl_format.h"

#include <algorithm>
#include <cstdint>

#include "store/jsonl_details.h"

namespace sightline {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// Length of the valid UTF-8 sequence at the front (Unicode 15, table 3-7), 0 when there is none.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const auto continues = [&](size_t i, uint8_t low = 0x80, uint8_t high = 0xBF) {
    return i < text.size() && byte(i) >= low && byte(i) <= high;
  };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const uint8_t low = first == 0xE0 ? 0xA0 : 0x80;   // no overlong form
    const uint8_t high = first == 0xED ? 0x9F : 0xBF;  // no surrogate
    return continues(1, low, high) && continues(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const uint8_t low = first == 0xF0 ? 0x90 : 0x80;   // no overlong form
    const uint8_t high = first == 0xF4 ? 0x8F : 0xBF;  // nothing beyond U+10FFFF
    return continues(1, low, high) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

void AppendEscaped(char c, std::string& out) {
  constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  out += "\\u00";
  out += kHex[(static_cast<uint8_t>(c) >> 4) & 15];
  out += kHex[static_cast<uint8_t>(c) & 15];
}

void AppendUuid(const Uuid& id, std::string& out) {
  constexpr char kHex[] = "0123456789abcdef";
  char text[38];
  char* p = text;
  *p++ = '"';
  for (size_t i = 0; i < id.bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *p++ = '-';
    *p++ = kHex[id.bytes[i] >> 4];
    *p++ = kHex[id.bytes[i] & 15];
  }
  *p++ = '"';
  out.append(text, static_cast<size_t>(p - text));
}

void AppendPadded(int64_t value, int digits, char*& p) {
  for (int i = digits - 1; i >= 0; --i) {
    p[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
  p += digits;
}

// "2026-01-31T12:34:56.789012Z" without allocating. RFC 3339 has years of four digits: what lies
// beyond is moved to the nearest of them. Civil date from days after Howard Hinnant,
// "chrono-compatible low-level date algorithms".
void AppendUtc(int64_t utc_us, std::string& out) {
  constexpr int64_t kSecondUs = 1'000'000;
  constexpr int64_t kDayUs = 86'400 * kSecondUs;
  constexpr int64_t kYear0Us = -719'528 * kDayUs;
  constexpr int64_t kYear10000Us = 2'932'897 * kDayUs;
  const int64_t us = std::clamp(utc_us, kYear0Us, kYear10000Us - 1) - kYear0Us;  // not negative
  const int64_t in_day_us = us % kDayUs;
  // Days since March 1 of the year -400: leap days end the year, and nothing is negative.
  const int64_t days = us / kDayUs - 60 + 146'097;
  const int64_t era = days / 146'097;
  const int64_t day_of_era = days % 146'097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  const int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  const int64_t year = year_of_era + era * 400 - 400 + (month <= 2 ? 1 : 0);

  char text[32];
  char* p = text;
  AppendPadded(year, 4, p);
  *p++ = '-';
  AppendPadded(month, 2, p);
  *p++ = '-';
  AppendPadded(day, 2, p);
  *p++ = 'T';
  AppendPadded(in_day_us / (3600 * kSecondUs), 2, p);
  *p++ = ':';
  AppendPadded(in_day_us / (60 * kSecondUs) % 60, 2, p);
  *p++ = ':';
  AppendPadded(in_day_us / kSecondUs % 60, 2, p);
  *p++ = '.';
  AppendPadded(in_day_us % kSecondUs, 6, p);
  *p++ = 'Z';
  out.append(text, static_cast<size_t>(p - text));
}

void AppendEvent(const Event& event, const LabelSet* labels, std::string& out) {
  out += "{\"id\":";
  AppendUuid(event.id, out);
  out += ",\"kind\":\"";
  out += ToString(event.kind);
  out += "\",\"rule\":";
  AppendJsonString(event.rule, out);
  if (event.kind == EventKind::kLineCross) {
    out += ",\"direction\":";
    AppendJsonString(event.direction_name, out);
    out += ",\"forward\":";
    out += event.direction == CrossDirection::kForward ? "true" : "false";
  }
  if (event.kind == EventKind::kZoneExit) {
    out += ",\"dwell_us\":";
    AppendNumber(event.dwell_us, out);
  }
  out += ",\"track_id\":";
  AppendNumber(event.track_id, out);
  out += ",";
  AppendObject(event.class_id, event.confidence, event.box_px, labels, out);
  out += ",\"anchor_px\":[";
  AppendFloat(event.anchor_px.x, out);
  out += ",";
  AppendFloat(event.anchor_px.y, out);
  out += "]}";
}

// The track that took detection `index`, nullptr when none did. Tracks are few and mostly in the
// order of their detections, so the search starts where the last one ended.
const TrackedObject* TrackOf(const Tracks& tracks, size_t index, size_t& hint) {
  const size_t count = tracks.items.size();
  for (size_t step = 0; step < count; ++step) {
    const size_t i = hint + step < count ? hint + step : hint + step - count;
    if (tracks.items[i].detection == static_cast<int32_t>(index)) {
      hint = i + 1 < count ? i + 1 : 0;
      return &tracks.items[i];
    }
  }
  return nullptr;
}

void AppendSize(const FrameMeta& meta, std::string& out) {
  out += ",\"width\":";
  AppendNumber(meta.width, out);
  out += ",\"height\":";
  AppendNumber(meta.height, out);
}

}  // namespace

void AppendJsonString(std::string_view text, std::string& out) {
  out += '"';
  size_t plain = 0;  // start of the run that needs no change
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\') {
      ++i;
      continue;
    }
    const size_t length = byte < 0x80 ? 0 : Utf8Length(text.substr(i));
    if (length > 0) {
      i += length;
      continue;
    }
    out.append(text.substr(plain, i - plain));
    if (byte < 0x80) {
      AppendEscaped(text[i], out);
    } else {
      out += kReplacement;
    }
    plain = ++i;
  }
  out.append(text.substr(plain));
  out += '"';
}

void AppendLineStart(std::string_view camera_id, std::string& line) {
  line += "{\"camera\":";
  AppendJsonString(camera_id, line);
  line += ",";
}

void AppendFrameLine(const FrameResult& result, std::string& line,
                     std::optional<int64_t> latency_us) {
  const FrameMeta& meta = result.frame.meta;
  const LabelSet* labels = result.detections.labels.get();
  AppendLineStart(meta.camera == nullptr ? std::string_view() : meta.camera->id, line);
  line += "\"frame\":";
  AppendNumber(meta.ordinal, line);
  line += ",\"pts_us\":";
  AppendNumber(meta.time.pts_us, line);
  line += ",\"epoch\":";
  AppendNumber(meta.time.epoch, line);
  line += ",\"timestamp\":\"";
  AppendUtc(meta.time.capture_utc_us, line);
  line += "\"";
  AppendSize(meta, line);
  if (latency_us) {
    line += ",\"latency_us\":";
    AppendNumber(*latency_us, line);
  }
  if (result.trace.span_id != 0) {
    line += ",\"traceparent\":\"";
    AppendTraceparent(result.trace, line);
    line += "\"";
  }
  line += ",\"detections\":[";
  size_t hint = 0;
  for (size_t i = 0; i < result.detections.items.size(); ++i) {
    const Detection& detection = result.detections.items[i];
    line += i == 0 ? "{\"id\":" : ",{\"id\":";
    AppendUuid(result.detection_ids[i], line);
    line += ",";
    AppendObject(detection.class_id, detection.confidence, detection.box_px, labels, line);
    line += ",\"track_id\":";
    if (const TrackedObject* track = TrackOf(result.tracks, i, hint)) {
      AppendNumber(track->track_id, line);
    } else {
      line += "null";
    }
    AppendDetails(result.detections, i, line);
    line += "}";
  }
  line += "]";
  AppendPictureResults(result.detections, line);
  line += ",\"events\":[";
  for (size_t i = 0; i < result.events.size(); ++i) {
    if (i > 0) line += ",";
    AppendEvent(result.events[i], labels, line);
  }
  line += result.end_of_stream ? "],\"end_of_stream\":true}\n" : "]}\n";
}

void AppendCameraStateLine(const CameraStateChange& change, std::string& line) {
  AppendLineStart(change.camera == nullptr ? std::string_view() : change.camera->id, line);
  line += "\"timestamp\":\"";
  AppendUtc(change.utc_us, line);
  line += "\",\"state\":";
  AppendJsonString(ToString(change.to), line);
  line += ",\"previous\":";
  AppendJsonString(ToString(change.from), line);
  line += ",\"reason\":";
  AppendJsonString(change.reason, line);
  line += ",\"epoch\":";
  AppendNumber(change.epoch, line);
  line += ",\"attempts\":";
  AppendNumber(change.attempts, line);
  line += ",\"gap_us\":";
  AppendNumber(change.gap_us, line);
  line += "}\n";
}

void AppendDetectLine(std::string_view input, const Detections& detections, std::string& line) {
  line += "{\"input\":";
  AppendJsonString(input, line);
  line += ",\"frame\":";
  AppendNumber(detections.frame.ordinal, line);
  line += ",\"pts_us\":";
  AppendNumber(detections.frame.time.pts_us, line);
  AppendSize(detections.frame, line);
  line += ",\"detections\":";
  AppendItems(detections, line);
  AppendPictureResults(detections, line);
  line += "}\n";
}

}  // namespace sightline
