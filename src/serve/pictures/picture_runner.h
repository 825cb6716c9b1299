// Runs batches of pictures on one detector: each is decoded, all are detected in together, and what was
// found is put into pixels of the whole picture.
//
// A picture that cannot be decoded has its own error; the others run. Threads: that of its batcher.
// Memory: a decoder for each picture of a run (media/picture_decoder.h), used again.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "infer/batcher.h"
#include "media/picture_decoder.h"
#include "serve/pictures/picture_model.h"
#include "types/detector.h"

namespace sightline::serve {

struct PictureRunnerOptions {
  // For decoding no larger than needed; width 0: always whole.
  TensorRecipe input = {};
  MediaLimits limits = {};
  const Clock* clock = &Clock::Real();
};

class PictureRunner final : public BatchRunner {
 public:
  PictureRunner(std::unique_ptr<Detector> detector, const PictureRunnerOptions& options);
  int max_batch() const override { return std::max(1, detector_->info().max_batch); }
  // Jobs are PictureCalls.
  void Run(std::span<BatchJob* const> batch, std::span<absl::Status> statuses) override;

 private:
  struct Place {
    PictureCall* call = nullptr;
    absl::Status* status = nullptr;
    size_t decoder = 0;
    DecodedPicture picture;
  };
  absl::Status Decode(PictureCall& call, PictureDecoder& decoder, DecodedPicture& picture) const;
  void Detect();
  absl::Status Finish(const Place& place) const;
  int64_t Now() const { return options_.clock->NowMonotonicUs(); }

  const std::unique_ptr<Detector> detector_;
  const PictureRunnerOptions options_;
  // Used again.
  std::vector<PictureDecoder> decoders_;
  std::vector<Place> places_;
  std::vector<Frame> frames_;
  std::vector<DetectJob> jobs_;
};

}  // namespace sightline::serve
