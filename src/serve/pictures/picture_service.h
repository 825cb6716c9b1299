// Encoded pictures in, what a model found out: what the /v1 routes, the models NAME_pictures of the Open
// Inference Protocol and push cameras all call.
//
// An interface, so that a cache may stand before the one that runs models (served_pictures.h).
// Threads: safe. Answer() does not block.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serve/cache/result_cache.h"
#include "serve/request_context.h"
#include "types/detections.h"

namespace sightline::serve {

// What is wanted of a model: kAny takes whatever it gives.
enum class PictureTask : uint8_t { kAny, kDetect, kClassify, kSegment, kPose, kEmbed };
std::string_view ToString(PictureTask task);  // "detect", as in the routes; "" for kAny

// What of the results is answered. Part of whatever an answer is remembered by.
struct PictureOptions {
  // Least confidence of objects and classes, 0 to 1; unset: the model's own.
  std::optional<float> confidence = {};
  // Objects and classes at most, the best ones; 0: as many as the model gives.
  int max_results = 0;
  // Objects and classes of these names or numbers alone; empty: all.
  std::vector<std::string> classes = {};

  bool operator==(const PictureOptions&) const = default;
};

enum class DrawnAs : uint8_t { kNone, kJpeg, kPng };

struct PictureRequest {
  std::string model;
  std::string version;  // "" = the newest
  // A whole JPEG, PNG or WebP file, which `backing` keeps.
  std::string_view bytes;
  std::shared_ptr<const void> backing;
  PictureTask task = PictureTask::kAny;
  PictureOptions options;
  DrawnAs drawn = DrawnAs::kNone;  // also the picture with the results drawn into it
  uint32_t source = 0;             // who asks, for fairness
  int priority = 0;                // 1 is the most urgent; 0 = the model's default
  int64_t timeout_us = 0;          // not begun after so long; 0 = the model's
  // A part of a request that was let in: the model's max_wait is not looked at again.
  bool is_part = false;
  std::shared_ptr<RequestContext> context = {};  // where its times are noted; may be null
  std::function<bool()> gone = {};               // as InferRequest has it
};

// Of one request. decode_us to postprocess_us are those of its part of the run.
struct PictureTimes {
  int64_t queue_us = 0;
  int64_t decode_us = 0;
  int64_t preprocess_us = 0;  // this and the next two of the whole run that it was in
  int64_t inference_us = 0;
  int64_t postprocess_us = 0;
};

struct PictureAnswer {
  std::string model;
  std::string version;
  int width = 0;  // px of the picture, upright; results are in these
  int height = 0;
  // With labels; of `frame` nothing but the size is set.
  Detections results;
  std::string drawn;  // an encoded picture where one was asked for
  PictureTimes times;
  // Where it was not computed for this request, and how far the other picture was: bits or 1 - cosine.
  CacheHit cached = CacheHit::kNone;
  double cached_distance = 0;
};

// Called exactly once, on the thread of a model or on that which asked; must not block.
using PictureDone = std::function<void(absl::StatusOr<PictureAnswer>&&)>;

// Which model would answer now.
struct PictureModelId {
  std::string name;
  std::string version;
  // Differs between all loads of all models in this process: also when the same version is loaded anew.
  uint64_t load = 0;
  // Of the model's file and of all settings that change its results, the same in all processes; "" until
  // it has looked at its first picture.
  std::string identity;
};

class PictureService {
 public:
  virtual ~PictureService() = default;

  // Errors, by `done`: NotFound (no such model or version); Unavailable (not loaded);
  // InvalidArgument (no picture of a kind that is taken, or a damaged one; too large; a task that the
  // model does not do, with the right route; options that make no sense); FailedPrecondition (the model
  // is none for pictures); ResourceExhausted (too many wait); DeadlineExceeded (not begun in time);
  // Internal (the model failed).
  virtual void Answer(PictureRequest&& request, PictureDone done) = 0;

  // NotFound, Unavailable and InvalidArgument as above. Cost: a lock or two.
  virtual absl::StatusOr<PictureModelId> Identify(std::string_view model,
                                                  std::string_view version) const = 0;
};

// The media type by the first bytes ("image/jpeg", "image/png", "image/webp"); "" for all others.
std::string_view PictureTypeOf(std::string_view bytes);

}  // namespace sightline::serve
