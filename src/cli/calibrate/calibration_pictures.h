// The pictures of `sightline models calibrate`: found, looked at, and parted in two.
//
// Threads: one at a time. Memory: paths and annotations, no pixels. Cost: every picture is read and
// decoded once.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "evaluate/labelled_pictures.h"

namespace sightline::cli {

struct PictureWishes {
  std::string images;  // a folder, or what `sightline eval --images` takes
  // A folder whose pictures calibrate, labels or not; then all of `images` judge. Empty: `images`
  // are parted in two.
  std::string calibration_images;
  std::string format = "auto";
  std::string split;
  std::vector<std::string> classes;
  bool unlabelled = false;  // leave labels alone
  size_t most = 1000;       // of each folder
  double calibration_share = 0.5;
  uint64_t seed = 1;
};

// Fewer make no ranges and no interval; chosen. What is wanted are 500 to 1,000.
inline constexpr size_t kLeastPictures = 16;

struct CalibrationPictures {
  bool labelled = false;             // those that judge
  bool work_labelled = false;        // those that calibrate
  evaluate::LabelledPictures work;   // to calibrate and to choose layers by
  evaluate::LabelledPictures judge;  // looked at once, at the end
  size_t copies = 0;                 // of equal bytes, left out; of pictures that judge, too
  size_t beyond = 0;                 // more than wanted, left out
  size_t unreadable = 0;             // left out
  std::string first_unreadable;      // why
};

// Errors: those of ReadLabelledPictures, except that a folder without labels is taken as it is;
// NotFound when nothing is there; FailedPrecondition for fewer than kLeastPictures; DataLoss when
// more than a tenth cannot be read; Cancelled.
absl::StatusOr<CalibrationPictures> GatherPictures(
    const PictureWishes& wishes, const std::function<bool()>& stop,
    const std::function<void(size_t done, size_t of)>& progress);

}  // namespace sightline::cli
