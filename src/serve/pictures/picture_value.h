// Answers about pictures as values of the result cache: bytes and back.
//
// Threads: reentrant. Cost: a copy. Bytes are of this machine's byte order and this version of the program,
// which they say; others are refused.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "serve/pictures/picture_service.h"

namespace sightline::serve {

// Model, version, size, results, drawn picture; not the times. Unimplemented for results of further models
// on single objects (Detections::stages).
absl::StatusOr<std::string> PackPicture(const PictureAnswer& answer);
// DataLoss for bytes that PackPicture() did not make, and for results that do not hold together: values
// may come from a store that others write to.
absl::StatusOr<PictureAnswer> UnpackPicture(std::string_view bytes);

}  // namespace sightline::serve
