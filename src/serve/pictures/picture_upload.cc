#include "serve/pictures/picture_upload.h"

#include <absl/strings/escaping.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/ascii_text.h"
#include "infer/batcher.h"
#include "serve/pictures/multipart.h"
#include "serve/rest/json_faults.h"

namespace sightline::serve {
namespace {

namespace dom = simdjson::dom;

constexpr size_t kMostClasses = 1000;
constexpr size_t kJsonDepth = 8;
constexpr size_t kLongestShown = 100;
constexpr int64_t kLongestTimeoutMs = 24LL * 3600 * 1000;

std::string_view MediaTypeOf(std::string_view header) {
  std::string_view type = header.substr(0, std::min(header.find(';'), header.size()));
  while (!type.empty() && type.back() == ' ') type.remove_suffix(1);
  while (!type.empty() && type.front() == ' ') type.remove_prefix(1);
  return type;
}

template <typename Number>
absl::Status ReadNumber(std::string_view key, std::string_view text, Number least, Number most,
                        Number* to) {
  const char* const end = text.data() + text.size();
  Number value{};
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !(value >= least && value <= most)) {
    return InvalidArgument("\"{}\" is a number from {} to {}, not \"{}\"", key, least, most,
                           ShownText(text, kLongestShown));
  }
  *to = value;
  return absl::OkStatus();
}

absl::Status AddClasses(std::string_view list, std::vector<std::string>& classes) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (comma > 0) classes.emplace_back(list.substr(0, comma));
    list.remove_prefix(std::min(list.size(), comma + 1));
    if (classes.size() > kMostClasses) {
      return InvalidArgument("more than {} classes", kMostClasses);
    }
  }
  return absl::OkStatus();
}

constexpr std::string_view kWishes[] = {"confidence", "max", "classes", "priority", "timeout_ms"};

bool IsWish(std::string_view key) { return std::ranges::find(kWishes, key) != std::end(kWishes); }

absl::Status TakeWish(std::string_view key, std::string_view value, PictureUpload& upload) {
  if (key == "confidence") {
    return ReadNumber(key, value, 0.0f, 1.0f, &upload.options.confidence.emplace());
  }
  if (key == "max") return ReadNumber(key, value, 0, 1'000'000, &upload.options.max_results);
  if (key == "priority") return ReadNumber(key, value, 0, kPriorityLevels, &upload.priority);
  if (key == "timeout_ms") {
    int64_t timeout_ms = 0;
    SL_RETURN_IF_ERROR(ReadNumber(key, value, int64_t{0}, kLongestTimeoutMs, &timeout_ms));
    upload.timeout_us = timeout_ms * 1000;
    return absl::OkStatus();
  }
  upload.options.classes.clear();
  return AddClasses(value, upload.options.classes);
}

absl::Status ReadQuery(const HttpRequest& request, PictureUpload& upload) {
  for (const std::string_view key : kWishes) {
    const auto value = request.QueryValue(key);
    if (value) SL_RETURN_IF_ERROR(TakeWish(key, *value, upload));
  }
  return absl::OkStatus();
}

absl::Status ReadForm(std::string_view type, std::string_view body, PictureUpload& upload) {
  SL_ASSIGN_OR_RETURN(const std::string boundary, BoundaryOf(type));
  SL_ASSIGN_OR_RETURN(const std::vector<FormPart> parts, ReadFormParts(body, boundary));
  for (const FormPart& part : parts) {
    if (!part.is_file && IsWish(part.name)) {
      SL_RETURN_IF_ERROR(TakeWish(part.name, part.content, upload));
      continue;
    }
    // A picture: a file, or a field of whatever name that has a picture's type.
    const bool is_picture = part.is_file || MediaTypeOf(part.type).starts_with("image/");
    if (!is_picture) {
      return InvalidArgument("the form's field \"{}\" is neither a file nor one of {}",
                             ShownText(part.name, kLongestShown), fmt::join(kWishes, ", "));
    }
    // What a browser sends for a file field that was left empty.
    if (part.content.empty() && part.file_name.empty()) continue;
    upload.pictures.push_back({part.file_name, part.content});
  }
  if (upload.pictures.empty()) return InvalidArgument("no file is in the form");
  upload.is_list = true;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Decoded(std::string_view text) {
  if (text.starts_with("data:")) {
    const size_t comma = text.find(',');
    if (comma == std::string_view::npos || !text.substr(0, comma).ends_with(";base64")) {
      return InvalidArgument("a data URL of a picture is data:image/...;base64,...");
    }
    text.remove_prefix(comma + 1);
  }
  std::string bytes;
  if (!absl::Base64Unescape(absl::string_view(text.data(), text.size()), &bytes)) {
    return InvalidArgument("a picture in JSON is a string in base64");
  }
  return bytes;
}

// Base64 of some pictures, decoded.
using PictureBytes = std::vector<std::string>;

absl::Status ReadJsonWish(std::string_view key, const dom::element& value, PictureUpload& upload) {
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) return TakeWish(key, text, upload);
  dom::array list;
  if (key == "classes" && value.get(list) == simdjson::SUCCESS) {
    upload.options.classes.clear();
    for (const dom::element one : list) {
      int64_t number = 0;
      if (one.get(text) == simdjson::SUCCESS) {
        upload.options.classes.emplace_back(text);
      } else if (one.get(number) == simdjson::SUCCESS) {
        upload.options.classes.push_back(std::to_string(number));
      } else {
        return InvalidArgument("\"classes\" is a list of names and numbers");
      }
      if (upload.options.classes.size() > kMostClasses) {
        return InvalidArgument("more than {} classes", kMostClasses);
      }
    }
    return absl::OkStatus();
  }
  double number = 0;
  if (key == "classes" || value.get(number) != simdjson::SUCCESS) {
    return InvalidArgument("\"{}\" has the wrong type", key);
  }
  return TakeWish(key, fmt::format("{}", number), upload);
}

absl::Status AddJsonPicture(const dom::element& value, PictureBytes& bytes) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) {
    return InvalidArgument("a picture in JSON is a string in base64");
  }
  if (bytes.size() == kMostPictures) return InvalidArgument("more than {} pictures", kMostPictures);
  SL_ASSIGN_OR_RETURN(bytes.emplace_back(), Decoded(text));
  return absl::OkStatus();
}

absl::Status ReadJson(std::string_view body, PictureUpload& upload) {
  if (body.size() > kMostPictureJson) {
    return absl::OutOfRangeError(
        fmt::format("{} bytes of JSON; {} are possible: send pictures as they are, or as a form",
                    body.size(), kMostPictureJson));
  }
  dom::parser parser(kMostPictureJson);
  if (parser.allocate(body.size(), kJsonDepth) != simdjson::SUCCESS) {
    return ResourceExhausted("no memory for the JSON; try again later");
  }
  dom::object object;
  if (parser.parse(body.data(), body.size()).get(object) != simdjson::SUCCESS) {
    return InvalidArgument("the body is no JSON object, or too deep{}", LikelyJsonFault(body));
  }
  const auto bytes = std::make_shared<PictureBytes>();
  for (const auto& [key, value] : object) {
    if (IsWish(key)) {
      SL_RETURN_IF_ERROR(ReadJsonWish(key, value, upload));
    } else if (key == "image") {
      SL_RETURN_IF_ERROR(AddJsonPicture(value, *bytes));
    } else if (key == "images") {
      dom::array list;
      if (value.get(list) != simdjson::SUCCESS) return InvalidArgument("\"images\" is a list");
      for (const dom::element one : list) SL_RETURN_IF_ERROR(AddJsonPicture(one, *bytes));
      upload.is_list = true;
    } else {
      return InvalidArgument("unknown member \"{}\": there are image, images, {}",
                             ShownText(key, kLongestShown), fmt::join(kWishes, ", "));
    }
  }
  if (bytes->empty()) return InvalidArgument("neither \"image\" nor \"images\" has a picture");
  if (bytes->size() > 1) upload.is_list = true;
  for (const std::string& one : *bytes) upload.pictures.push_back({"", one});
  upload.backing = bytes;
  return absl::OkStatus();
}

}  // namespace

bool IsFormOrJson(const HttpRequest& request) {
  const std::string_view type = MediaTypeOf(request.Header("content-type"));
  return SameWord(type, "multipart/form-data") || SameWord(type, "application/json");
}

absl::StatusOr<PictureUpload> ReadUpload(HttpRequest& request) {
  PictureUpload upload;
  const std::string_view coding = request.Header("content-encoding");
  if (!coding.empty() && !SameWord(coding, "identity")) {
    return Unimplemented("Content-Encoding {}: pictures are packed already, send them as they are",
                         ShownText(coding, kLongestShown));
  }
  SL_RETURN_IF_ERROR(ReadQuery(request, upload));
  const std::string_view header = request.Header("content-type");
  const std::string_view type = MediaTypeOf(header);
  if (request.body.empty()) return InvalidArgument("no picture: the body is empty");
  const auto body = std::make_shared<const RequestBody>(std::move(request.body));
  upload.backing = body;
  if (SameWord(type, "multipart/form-data")) {
    SL_RETURN_IF_ERROR(ReadForm(header, *body, upload));
  } else if (SameWord(type, "application/json")) {
    SL_RETURN_IF_ERROR(ReadJson(*body, upload));
  } else if (PictureTypeOf(*body).empty()) {
    return Unimplemented("the body is no picture by its first bytes (Content-Type \"{}\"): {}",
                         ShownText(header, kLongestShown), kTakenTypes);
  } else {
    upload.pictures.push_back({"", *body});
  }
  if (upload.pictures.size() > kMostPictures) {
    return InvalidArgument("{} pictures in a request; {} are possible", upload.pictures.size(),
                           kMostPictures);
  }
  return upload;
}

DrawnAs DrawnAsOf(std::string_view accept) {
  DrawnAs best = DrawnAs::kNone;
  double best_quality = 0;
  while (!accept.empty()) {
    const size_t comma = std::min(accept.find(','), accept.size());
    const std::string_view one = accept.substr(0, comma);
    accept.remove_prefix(std::min(accept.size(), comma + 1));
    const std::string_view type = MediaTypeOf(one);
    double quality = 1;
    if (const size_t q = one.find("q="); q != std::string_view::npos) {
      std::from_chars(one.data() + q + 2, one.data() + one.size(), quality);
    }
    DrawnAs as = DrawnAs::kNone;
    if (SameWord(type, "image/jpeg") || SameWord(type, "image/*")) {
      as = DrawnAs::kJpeg;
    } else if (SameWord(type, "image/png")) {
      as = DrawnAs::kPng;
    } else if (!SameWord(type, "application/json") && !SameWord(type, "*/*") &&
               !SameWord(type, "application/*")) {
      continue;  // not what is answered with
    }
    if (quality > best_quality) {
      best_quality = quality;
      best = as;
    }
  }
  return best;
}

}  // namespace sightline::serve
