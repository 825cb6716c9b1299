// A model run over labelled pictures: what it finds in each, in the classes of the truth.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/started_model.h"
#include "evaluate/labelled_pictures.h"
#include "evaluate/perturb.h"
#include "types/frame.h"

namespace sightline::cli {

// Reads and sizes of picture files, as evaluate asks for them.
evaluate::PictureAccess PictureFileAccess();

// A picture as JPEG of that quality keeps it (evaluate::JpegRoundTrip).
absl::StatusOr<evaluate::BgrImage> ThroughJpeg(const evaluate::BgrImage& image, int quality);

// A picture as a frame of packed BGR that keeps its own pixels.
Frame FrameOfBgr(int width, int height, std::vector<uint8_t> bgr);

// The decoded file of a labelled picture. NotFound when the truth names a picture that is not there;
// DataLoss for one that is cut off.
absl::StatusOr<Frame> ReadLabelledPicture(const evaluate::LabelledPicture& picture);

// Puts `count` frames through the model and gives their results back in order. `read` is called on
// another thread, one call at a time; an error of either ends the work and is given back.
absl::Status DetectInOrder(
    StartedModel& model, size_t count, const std::function<absl::StatusOr<Frame>(size_t)>& read,
    const std::function<absl::Status(size_t, const Frame&, const std::vector<Detection>&)>& take);

// The model's classes in those of the truth.
class JudgedClasses {
 public:
  // InvalidArgument when none of the model's classes is one of the truth.
  static absl::StatusOr<JudgedClasses> Create(const LabelSet& model,
                                              const std::map<int32_t, std::string>& truth);
  // Appends the box in the truth's class, unless the truth has none of that name.
  void Take(const Detection& detection, std::vector<evaluate::FoundBox>* found) const;
  // Classes of the truth that the model does not know: all that shows them is missed.
  const std::vector<std::string>& unknown_to_model() const { return unknown_to_model_; }

 private:
  std::vector<int32_t> classes_;
  std::vector<std::string> unknown_to_model_;
};

}  // namespace sightline::cli
