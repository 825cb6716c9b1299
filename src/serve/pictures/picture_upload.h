// The pictures and wishes of an HTTP request to a /v1 route.
//
// Bodies: a picture as it is; multipart/form-data with files; JSON with "image" or "images" in base64.
// Wishes: in the query, and in the form's other fields or the JSON's other members, which go before it:
// confidence, max, classes, priority, timeout_ms.
// Bounds: kMostPictures; JSON of at most kMostPictureJson bytes. Threads: reentrant.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serve/http/http_message.h"
#include "serve/pictures/picture_service.h"

namespace sightline::serve {

inline constexpr size_t kMostPictures = 32;                   // of one request; chosen
inline constexpr size_t kMostPictureJson = size_t{16} << 20;  // chosen
inline constexpr std::string_view kTakenTypes = "JPEG, PNG and WebP are taken";

struct UploadedPicture {
  std::string name;        // the file's; "" where it has none
  std::string_view bytes;  // kept by the upload's `backing`
};

struct PictureUpload {
  std::vector<UploadedPicture> pictures;  // at least one
  bool is_list = false;                   // answered as a list, also where it is one picture
  PictureOptions options;
  int priority = 0;
  int64_t timeout_us = 0;
  std::shared_ptr<const void> backing;
};

// Whether its pictures lie in a form or in JSON, by its Content-Type: ReadUpload() looks at every byte.
bool IsFormOrJson(const HttpRequest& request);

// Takes the request's body. InvalidArgument with what is wrong; OutOfRange for too much JSON;
// Unimplemented for a body, or a lone picture, of a type that is not taken.
absl::StatusOr<PictureUpload> ReadUpload(HttpRequest& request);

// Which picture the client wants to be answered with, by its Accept header: kNone for JSON.
DrawnAs DrawnAsOf(std::string_view accept);

}  // namespace sightline::serve
