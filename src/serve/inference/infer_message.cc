#include "serve/inference/infer_message.h"

namespace sightline::serve {

absl::Status WriteShared(std::string_view bytes, const SharedPlace& place, InferOutput& output) {
  output.shared = place;
  output.shared.bytes = bytes.size();
  if (bytes.size() > place.bytes) {
    return InvalidArgument(
        "shared memory size specified with the request for output '{}' ({} bytes) should be at "
        "least {} bytes to hold the results",
        output.name, place.bytes, bytes.size());
  }
  return place.region->Write(place.offset, bytes.size(), bytes.data());
}

}  // namespace sightline::serve
