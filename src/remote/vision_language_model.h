// Vision-language models behind an OpenAI-compatible endpoint, as detectors: the last resort of a
// cascade, for pictures that smaller models are not sure about. What users get to know of it:
// docs/vision_language_models.md.
//
//   SL_ASSIGN_OR_RETURN(DetectorFactory factory, OpenVisionLanguageModel({
//       .endpoint = "https://host/v1", .model = "name", .api_key = key, .labels = {"fire", "fog"}}));
//   SL_ASSIGN_OR_RETURN(std::unique_ptr<Detector> detector, factory());
//
// In: a whole frame or a crop as a Frame. Out: Detections::classes, best first, of the labels that the
// model named (kOneLabel, kSeveralLabels), or items with boxes (kBoxes). How sure it is: see
// ParseAnswer() in chat_protocol.h; 1 where the server gives no log-probabilities.
//
// A picture that gets no answer has an error of its own:
//   ResourceExhausted  the budget is spent: not asked (and nothing else has this code)
//   Unavailable        the endpoint fails after all retries; or was not asked because it failed again
//                      and again and is left alone for a while, or because too many pictures wait
//   DeadlineExceeded   no answer within timeout_us, waiting and retries included
//   Unauthenticated, PermissionDenied, NotFound, InvalidArgument, FailedPrecondition
//                      what the endpoint says of key, model or request: asking again cannot help
//   DataLoss           an answer that fits no label or is no chat completion
//   Cancelled          by options.cancel
// DetectJob::failure is kPreprocessError for pictures that cannot be sent, kPostprocessError with
// DataLoss, else kInferenceError.
//
// Threads: one at a time per detector. All detectors of one factory share the connections, the
// max_at_once threads "ask-NAME" that wait for answers, the budget, the cache and the counters; these
// go with the last of them. Detect() blocks until each of its pictures is answered or given up; its
// pictures are asked about at the same time.
// Bounds: max_waiting pictures wait, of each a JPEG; an answer is read to 1 MiB.
// Cost: a scaled copy and a JPEG a picture, then the network and the model: mostly a second or more,
// and money. Nothing here is for every frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/status.h"
#include "base/time.h"
#include "net/http_client.h"
#include "net/retry.h"
#include "remote/question.h"
#include "remote/request_budget.h"
#include "types/detector.h"

namespace sightline {

// What a model has cost. pictures = cache_hits + answers + errors + refused_by_budget +
// refused_while_paused + refused_waiting, but for those on their way.
struct VisionLanguageCounters {
  Counter pictures;              // given to detectors
  Counter cache_hits;            // answered without asking
  Counter answers;               // by the endpoint
  Counter errors;                // asked, or not to be sent, and without an answer
  Counter refused_by_budget;     // not asked
  Counter refused_while_paused;  // not asked: the endpoint is left alone
  Counter refused_waiting;       // not asked: max_waiting wait already
  Counter requests;              // sent, retries included
  Counter retries;
  Counter prompt_tokens;  // as the endpoint counts them
  Counter answer_tokens;
  Counter replies_without_usage;  // whose tokens nobody knows
};

struct VisionLanguageOptions {
  std::string name = "vision_language";  // as people call it
  // The endpoint's base, such as https://host/v1; /chat/completions is added.
  std::string endpoint = {};
  std::string model = {};    // as the endpoint calls it
  std::string api_key = {};  // sent as a bearer token; empty: none. Never shown
  net::TlsOptions tls = {};
  bool use_environment_proxy = true;

  std::vector<std::string> labels = {};  // at most 1000, different in more than the case of letters
  AnswerKind answer = AnswerKind::kOneLabel;
  std::string question = {};   // empty: one made for the kind of answer
  bool may_find_none = false;  // kOneLabel: "none" is an answer too
  BoxUnit box_unit = BoxUnit::kThousandths;
  int max_boxes = 100;        // of an answer, the surest
  int max_answer_tokens = 0;  // 0: 100 for a label, 500 for several, 4000 for boxes

  int max_picture_side_px = 768;  // larger pictures are scaled down; 64 to 4096
  int jpeg_quality = 85;          // 1 to 100

  int64_t connect_timeout_us = 5'000'000;
  int64_t timeout_us = 30'000'000;  // of a picture, waiting for a thread and retries included
  net::RetryPolicy retry = {};
  int max_at_once = 4;   // requests; 1 to 64
  int max_waiting = 64;  // pictures beyond those; 0 to 10,000
  RequestLimits budget = {};
  size_t cache_entries = 10'000;         // 0: none; at most 1,000,000
  int64_t cache_ttl_us = 3'600'000'000;  // an hour

  std::shared_ptr<VisionLanguageCounters> counters = nullptr;  // null: nobody looks
  std::shared_ptr<net::CancelSignal> cancel = nullptr;         // ends what waits, for good
  const Clock* clock = &Clock::Real();
};

// Sends nothing: the endpoint is met with the first picture. InvalidArgument with the option that is
// impossible; FailedPrecondition for TLS files that cannot be read; ResourceExhausted when no thread
// can be started.
absl::StatusOr<DetectorFactory> OpenVisionLanguageModel(const VisionLanguageOptions& options);

}  // namespace sightline
