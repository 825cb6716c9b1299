// Answers about pictures as JSON, with the members of the engine's own lines (docs/output_formats.md).
// Threads: reentrant.
#pragma once

#include <string>

#include "serve/pictures/picture_service.h"

namespace sightline::serve {

// "version":"1","width":w,"height":h,"detections":[...] and what the model says of the whole picture.
void AppendPictureMembers(const PictureAnswer& answer, std::string& out);

// {"model":"faces",...those}
std::string PictureJson(const PictureAnswer& answer);

// {"model":"M","error":...}: what went wrong with one of several pictures stands as
// "error":"...","status":400
void AppendErrorMembers(const absl::Status& status, int http_status, std::string& out);

// As the header Sightline-Cache has it: "hit; kind=perceptual; distance=3", of an answer from the cache.
std::string CacheText(const PictureAnswer& answer);

// As the header Server-Timing has it: "queue;dur=0.1, decode;dur=1.2, ...", in ms.
std::string TimingText(const PictureTimes& times);

}  // namespace sightline::serve
