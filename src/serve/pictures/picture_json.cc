#include "serve/pictures/picture_json.h"

#include <fmt/format.h>

#include <algorithm>

#include "store/jsonl_details.h"
#include "store/jsonl_format.h"

namespace sightline::serve {

void AppendPictureMembers(const PictureAnswer& answer, std::string& out) {
  out += "\"version\":";
  AppendJsonString(answer.version, out);
  out += ",\"width\":";
  AppendNumber(answer.width, out);
  out += ",\"height\":";
  AppendNumber(answer.height, out);
  out += ",\"detections\":";
  AppendItems(answer.results, out);
  AppendPictureResults(answer.results, out);
  if (answer.cached == CacheHit::kNone) return;
  out += ",\"cache\":{\"hit\":";
  AppendJsonString(ToString(answer.cached), out);
  out += fmt::format(",\"distance\":{:.6g}}}", answer.cached_distance);
}

std::string CacheText(const PictureAnswer& answer) {
  return fmt::format("hit; kind={}; distance={:.6g}", ToString(answer.cached),
                     answer.cached_distance);
}

std::string PictureJson(const PictureAnswer& answer) {
  constexpr size_t kUsual = 256, kUsualItem = 128;
  std::string json;
  json.reserve(kUsual + kUsualItem * answer.results.items.size());
  json += "{\"model\":";
  AppendJsonString(answer.model, json);
  json += ",";
  AppendPictureMembers(answer, json);
  json += "}";
  return json;
}

void AppendErrorMembers(const absl::Status& status, int http_status, std::string& out) {
  out += "\"error\":";
  AppendJsonString(MessageOf(status), out);
  out += ",\"status\":";
  AppendNumber(http_status, out);
}

std::string TimingText(const PictureTimes& times) {
  std::string text;
  const auto add = [&](std::string_view name, int64_t us) {
    if (!text.empty()) text += ", ";
    text.append(name).append(";dur=");
    us = std::max<int64_t>(0, us);
    AppendNumber(us / 1000, text);
    text += '.';
    text += static_cast<char>('0' + us / 100 % 10);
    text += static_cast<char>('0' + us / 10 % 10);
  };
  add("queue", times.queue_us);
  add("decode", times.decode_us);
  add("preprocess", times.preprocess_us);
  add("inference", times.inference_us);
  add("postprocess", times.postprocess_us);
  return text;
}

}  // namespace sightline::serve
