#include "evaluate/run_results.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/number_lines.h"

namespace sightline::evaluate {
namespace {

using nlohmann::json;

constexpr size_t kMostLineBytes = size_t{16} << 20;

// std::getline without its endless line.
class LineReader {
 public:
  explicit LineReader(const std::string& path)
      : buffer_(std::make_unique<char[]>(kBufferBytes)), file_(path, std::ios::binary) {}
  bool is_open() const { return file_.is_open(); }

  // False at the end. ResourceExhausted for a line that is too long.
  absl::StatusOr<bool> Next(std::string* line) {
    line->clear();
    for (;;) {
      if (at_ == filled_) {
        file_.read(buffer_.get(), kBufferBytes);
        filled_ = static_cast<size_t>(file_.gcount());
        at_ = 0;
        if (filled_ == 0) return !line->empty();
      }
      const std::string_view rest(buffer_.get() + at_, filled_ - at_);
      const size_t end = rest.find('\n');
      line->append(rest.substr(0, end));
      if (line->size() > kMostLineBytes) {
        return ResourceExhausted("a line of more than {} MiB", kMostLineBytes >> 20);
      }
      at_ += end == std::string_view::npos ? rest.size() : end + 1;
      if (end != std::string_view::npos) return true;
    }
  }

 private:
  static constexpr size_t kBufferBytes = 1 << 16;
  const std::unique_ptr<char[]> buffer_;
  std::ifstream file_;
  size_t at_ = 0;
  size_t filled_ = 0;
};

std::string TextOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

int64_t WholeOf(const json& object, const char* key, int64_t otherwise) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : otherwise;
}

bool BoxOf(const json& object, PlacedBox* box) {
  const auto found = object.find("box_xyxy_px");
  if (found == object.end() || !found->is_array() || found->size() != 4) return false;
  double corners[4];
  for (size_t i = 0; i < 4; ++i) {
    if (!(*found)[i].is_number()) return false;
    corners[i] = (*found)[i].get<double>();
    if (!std::isfinite(corners[i])) return false;
  }
  *box = {corners[0], corners[1], corners[2] - corners[0], corners[3] - corners[1]};
  return true;
}

absl::Status ReadObjects(const json& line, ResultFrame* frame) {
  for (const json& one : line["detections"]) {
    ResultFrame::Object object;
    const auto confidence = one.is_object() ? one.find("confidence") : one.end();
    if (!one.is_object() || confidence == one.end() || !confidence->is_number() ||
        !BoxOf(one, &object.box_px)) {
      return InvalidArgument("a detection without confidence or box");
    }
    object.object_class = TextOf(one, "class");
    object.confidence = confidence->get<double>();
    object.track_id = WholeOf(one, "track_id", ResultFrame::kNoTrack);
    frame->objects.push_back(std::move(object));
  }
  return absl::OkStatus();
}

void ReadCrossings(const json& line, ResultFrame* frame) {
  const auto events = line.find("events");
  if (events == line.end() || !events->is_array()) return;
  for (const json& event : *events) {
    if (!event.is_object() || TextOf(event, "kind") != "line_cross") continue;
    const auto forward = event.find("forward");
    if (forward == event.end() || !forward->is_boolean()) continue;
    frame->crossings.push_back({.line = TextOf(event, "rule"),
                                .object_class = TextOf(event, "class"),
                                .forward = forward->get<bool>()});
  }
}

// False: a line that is no frame.
absl::StatusOr<bool> ReadFrame(const std::string& text, ResultFrame* frame) {
  const json line = json::parse(text, nullptr, false);
  if (line.is_discarded() || !line.is_object()) {
    return InvalidArgument("\"{}\" is no JSON object", ShownText(text));
  }
  if (line.contains("state") || line.contains("end_of_stream")) return false;
  if (!line.contains("detections") || !line["detections"].is_array() ||
      WholeOf(line, "frame", -1) < 0) {
    return InvalidArgument("no frame of a run in \"{}\"", ShownText(text));
  }
  *frame = {};
  frame->camera = TextOf(line, "camera");
  // `detect --json` says which input it was.
  if (frame->camera.empty()) frame->camera = TextOf(line, "input");
  frame->frame = WholeOf(line, "frame", 0);
  frame->width = static_cast<int>(std::clamp<int64_t>(WholeOf(line, "width", 0), 0, 1 << 20));
  frame->height = static_cast<int>(std::clamp<int64_t>(WholeOf(line, "height", 0), 0, 1 << 20));
  SL_RETURN_IF_ERROR(ReadObjects(line, frame));
  ReadCrossings(line, frame);
  return true;
}

}  // namespace

absl::Status ForEachResultFrame(const std::string& path,
                                const std::function<absl::Status(const ResultFrame&)>& take) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return NotFound("{}: no such file", path);
  if (!std::filesystem::is_regular_file(path, error)) {
    return InvalidArgument("{}: not a file", path);
  }
  LineReader reader(path);
  if (!reader.is_open()) return FailedPrecondition("{}: cannot be read", path);
  std::string text;
  ResultFrame frame;
  for (size_t number = 1;; ++number) {
    const std::string place = fmt::format("{}: line {}", path, number);
    const absl::StatusOr<bool> more = reader.Next(&text);
    if (!more.ok()) return WithContext(more.status(), place);
    if (!*more) return absl::OkStatus();
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    const absl::StatusOr<bool> is_frame = ReadFrame(text, &frame);
    if (!is_frame.ok()) return WithContext(is_frame.status(), place);
    if (*is_frame) SL_RETURN_IF_ERROR(WithContext(take(frame), place));
  }
}

}  // namespace sightline::evaluate
