// Cameras that send their own pictures, one after the other, and those who listen to what was found in them.
//
// A camera is there from its first picture on, and gone after `idle_us` without any and without listeners.
// Who listens may come first: a camera that has sent nothing is there as long as somebody listens, is bounded
// apart (`most_awaited`), and takes no place of one that sends. Results go out in the order of the pictures, whatever the order in which models answer.
// Bounds: cameras of both kinds, listeners of one camera, and pictures of one camera that are being worked on: beyond
// that pictures are refused, which keeps a camera that is too fast at the newest ones. The files of all
// pictures that are being worked on are bounded in bytes, too. A camera begins with a model that is there.
// Threads: safe; results are sent on the thread of the model that answers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "base/status.h"
#include "base/time.h"
#include "serve/http/http_feed.h"
#include "serve/pictures/picture_service.h"

namespace sightline::serve {

struct PushCameraOptions {
  // All chosen, not measured.
  size_t most_cameras = 256;    // that have sent a picture
  size_t most_awaited = 64;     // that have not, and are listened to
  size_t most_listeners = 256;  // of one camera
  size_t most_in_work = 4;      // pictures of one camera
  int64_t idle_us = 300'000'000;
  size_t most_bytes = size_t{512} << 20;  // of the files of all pictures in work
};

struct PushCameraStats {
  uint64_t cameras = 0;  // now, that have sent a picture
  uint64_t awaited = 0;  // now, that have not
  uint64_t frames = 0;   // taken
  uint64_t results = 0;
  uint64_t failed = 0;   // pictures for which there was an error instead
  uint64_t refused = 0;  // because too many were being worked on
  uint64_t no_room = 0;  // refused because those of all cameras hold too many bytes
  uint64_t bytes = 0;    // of files, held now
};

struct PushedFrame {
  PictureRequest picture;
  int64_t capture_utc_us = 0;
  // Whether what is found keeps an id from picture to picture. A camera's tracks end where its model
  // changes or its time goes back.
  bool track = true;
};

// Names of models; null: all.
using ModelNames = std::shared_ptr<const std::vector<std::string>>;

class PushCameras {
 public:
  // `pictures` outlives this and all pictures that it was given.
  PushCameras(PictureService& pictures, const PushCameraOptions& options,
              const Clock& clock = Clock::Real());
  ~PushCameras();

  // What listeners get, for the one who sent the picture: the result as JSON, or the error.
  using Done = std::function<void(const absl::StatusOr<std::shared_ptr<const FeedMessage>>&)>;
  // Its number, from 1 on for each camera. `done` may be empty; it is called after listeners were told,
  // where a number was given. ResourceExhausted when too many pictures of this camera are being worked on,
  // or cameras are there; Unavailable when those of all cameras hold too many bytes; InvalidArgument for
  // an id that is empty, too long or no text; errors of PictureService::Identify(), with which no camera begins.
  absl::StatusOr<uint64_t> Push(std::string_view camera, PushedFrame&& frame, Done done);

  // Of events "result" and "error" with the picture's number as id, until `feed` is closed. With `models`
  // those of these models alone. Errors as Push().
  absl::Status Listen(std::string_view camera, std::shared_ptr<HttpFeed> feed, ModelNames models);

  PushCameraStats stats() const;
  // sightline_push_camera* (docs/serving_transport.md).
  void CollectMetrics(MetricWriter& writer) const;

 private:
  class Camera;
  struct Shared;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace sightline::serve
