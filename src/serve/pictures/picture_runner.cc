#include "serve/pictures/picture_runner.h"

#include <algorithm>
#include <new>
#include <utility>

#include "media/image_codec.h"
#include "observe/annotate.h"
#include "vision/shrink.h"

namespace sightline::serve {
namespace {

std::span<const uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// What is wrong with a picture is the fault of who sent it.
absl::Status AsRefused(const absl::Status& status) {
  return status.ok() ? status : InvalidArgument("{}", MessageOf(status));
}

// What is wrong with the model's part of it is not.
absl::Status AsFailed(const DetectJob& job) {
  if (job.status.ok() || absl::IsResourceExhausted(job.status) ||
      job.failure == DropReason::kPreprocessError) {
    return job.status;
  }
  return Internal("{}", MessageOf(job.status));
}

// The picture with what was found, encoded.
absl::StatusOr<std::string> Draw(const ImageView& view, const Detections& results, DrawnAs as) {
  const size_t row = static_cast<size_t>(view.width) * 3;
  std::vector<uint8_t> bgr(view.planes[0], view.planes[0] + row * view.height);
  const BgrPicture picture{bgr.data(), view.width, view.height, static_cast<int>(row)};
  AnnotateDetections(results, picture);
  ImageView drawn = view;
  drawn.planes[0] = bgr.data();
  SL_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes,
                      as == DrawnAs::kPng ? EncodePng(drawn) : EncodeJpeg(drawn));
  return std::string(bytes.begin(), bytes.end());
}

}  // namespace

PictureRunner::PictureRunner(std::unique_ptr<Detector> detector,
                             const PictureRunnerOptions& options)
    : detector_(std::move(detector)), options_(options) {
  decoders_.resize(static_cast<size_t>(max_batch()));
  frames_.resize(decoders_.size());
}

absl::Status PictureRunner::Decode(PictureCall& call, PictureDecoder& decoder,
                                   DecodedPicture& picture) const {
  const int64_t began_us = Now();
  SL_RETURN_IF_ERROR(AsRefused(decoder.Open(BytesOf(call.request.bytes), options_.limits)));
  int step = 1;
  // What is drawn is drawn into the whole picture.
  if (call.request.drawn == DrawnAs::kNone && options_.input.width > 0 && decoder.CanShrink()) {
    step = ShrinkStep(options_.input, decoder.width(), decoder.height());
  }
  absl::StatusOr<DecodedPicture> decoded = decoder.Decode(step);
  if (!decoded.ok()) {
    const bool memory = absl::IsResourceExhausted(decoded.status());
    return memory ? decoded.status() : AsRefused(decoded.status());
  }
  picture = *decoded;
  call.answer.times.decode_us = Now() - began_us;
  return absl::OkStatus();
}

void PictureRunner::Run(std::span<BatchJob* const> batch, std::span<absl::Status> statuses) {
  const int64_t began_us = Now();
  places_.clear();
  for (size_t i = 0; i < batch.size(); ++i) {
    auto* const call = static_cast<PictureCall*>(batch[i]);
    call->times.began_us = began_us;
    call->answer.times.queue_us = began_us - call->times.received_us;
    if (call->request.gone && call->request.gone()) {
      statuses[i] = Cancelled("nobody waits for the answer any more");
      continue;
    }
    Place place{call, &statuses[i], i, {}};
    try {
      statuses[i] = Decode(*call, decoders_[i], place.picture);
    } catch (const std::bad_alloc&) {
      statuses[i] = ResourceExhausted("no memory for the picture; try again later");
    }
    if (statuses[i].ok()) places_.push_back(place);
  }
  if (places_.empty()) return;
  Detect();
  for (const Place& place : places_) {
    if (!place.status->ok()) continue;
    try {
      *place.status = Finish(place);
    } catch (const std::bad_alloc&) {
      *place.status = ResourceExhausted("no memory for the answer; try again later");
    }
  }
}

void PictureRunner::Detect() {
  jobs_.clear();
  for (size_t i = 0; i < places_.size(); ++i) {
    const Place& place = places_[i];
    Frame& frame = frames_[i];
    frame.image = place.picture.view;
    frame.meta.width = frame.image.width;
    frame.meta.height = frame.image.height;
    jobs_.push_back({.frame = &frame,
                     .result = &place.call->answer.results,
                     .status = {},
                     .confidence = place.call->request.options.confidence.value_or(-1.0f)});
  }
  const int64_t decoded_us = Now();
  detector_->Detect(jobs_);
  const int64_t detected_us = Now();
  const DetectTimes* const known = detector_->last_times();
  const DetectTimes times =
      known != nullptr ? *known : DetectTimes{.inference_us = detected_us - decoded_us};
  for (size_t i = 0; i < places_.size(); ++i) {
    PictureCall& call = *places_[i].call;
    call.times.filled_us = decoded_us + times.preprocess_us;
    call.times.ran_us = call.times.filled_us + times.inference_us;
    call.times.emptied_us = std::max(detected_us, call.times.ran_us);
    call.answer.times.preprocess_us = times.preprocess_us;
    call.answer.times.inference_us = times.inference_us;
    call.answer.times.postprocess_us = times.postprocess_us;
    *places_[i].status = AsFailed(jobs_[i]);
  }
  PictureCall& first = *places_[0].call;
  first.model->statistics().Executed(static_cast<int64_t>(places_.size()), first.times);
}

absl::Status PictureRunner::Finish(const Place& place) const {
  PictureAnswer& answer = place.call->answer;
  const DecodedPicture& picture = place.picture;
  Detections& results = answer.results;
  if (results.labels == nullptr) results.labels = detector_->info().labels;
  MapToWhole({picture.step, picture.offset_x, picture.offset_y, picture.width, picture.height},
             &results);
  KeepWanted(place.call->request.options, place.call->class_ids, results);
  answer.width = picture.width;
  answer.height = picture.height;
  if (place.call->request.drawn == DrawnAs::kNone) return absl::OkStatus();
  SL_ASSIGN_OR_RETURN(answer.drawn, Draw(picture.view, results, place.call->request.drawn));
  return absl::OkStatus();
}

}  // namespace sightline::serve
