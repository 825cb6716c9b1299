// Whether a model package describes its model rightly, found out without truth: by reading the same
// pictures as described and in other ways, each with one of the classic mistakes undone (colours
// swapped, /255 missing or too much, another way of resizing, another layout of the outputs).
//
// The measure is agreed confidence: what the model finds in a picture and finds again in its mirror
// image, at the same place and of the same class. For such a pair it is the root of both confidences
// times the boxes' overlap (IoU, from 0.5); and the sum counts by the third power of the part
// that it is of all confidence: of thousands of boxes some agree by chance, and a wrong reading sees
// the same things in a background twice, among others that it sees once. Objects survive mirroring; noise, and
// boxes read in the wrong way, do not. Where another way finds much more of it, and does so picture after picture, it is
// proposed. How much is much was measured: docs/model_packages.md.
//
// What cannot be judged so is said and not guessed: embeddings and maps have no confidence, and of
// classifiers only a softmax done twice is recognised.
//
// Threads: one. Memory: a session for each way, of one loaded model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "infer/backend.h"
#include "types/detections.h"
#include "types/detector.h"
#include "types/model_spec.h"

namespace sightline {

// One way of reading the model.
struct ModelReading {
  std::string key;                 // "" as described; else what is changed: "input.channels"
  std::vector<std::string> lines;  // for model.yaml: "input.channels: rgb"
  ModelSpec spec;
};

// The ways that are tried beside the described one: those that the model's head takes.
std::vector<ModelReading> OtherReadings(const ModelSpec& spec);

// What one reading found.
struct ReadingReport {
  ModelReading reading;
  absl::Status status;          // the first error; where there is one, the figures are of the rest
  size_t pictures = 0;          // that could be read so
  size_t pictures_without = 0;  // in which nothing was found
  std::vector<float> scores;    // of all results above the package's confidence, falling
  std::vector<double> agreed;   // agreed confidence of each picture, in their order
  double agreed_sum() const;
};

// Whether the second is so much better that the package should be changed.
struct ReadingComparison {
  double gain = 0;       // part that it finds more; 1: twice as much
  double certainty = 0;  // mean difference of the pictures over its standard error
  bool better = false;
};
ReadingComparison CompareReadings(const ReadingReport& described, const ReadingReport& other);

struct ModelCheckReport {
  ReadingReport described;
  std::vector<ReadingReport> others;
  std::vector<std::string> warnings;  // for people, with the line to put into model.yaml
};

class ModelCheck {
 public:
  // `backend` must live longer. The errors are those of MakeNeuralDetectorFactory and its factory for
  // the package as it is described.
  static absl::StatusOr<std::unique_ptr<ModelCheck>> Create(const ModelSpec& spec,
                                                            InferenceBackend& backend);

  // Shows all readings a picture and its mirror image. `found`: what the model finds as described,
  // above its own confidence. Errors: the picture's own (it is then left out), or the model's as
  // described. Cost: two runs of the model for each reading.
  absl::Status Look(const Frame& picture, Detections* found);

  ModelCheckReport Report() const;

 private:
  struct Reader {
    ReadingReport report;
    std::unique_ptr<Detector> detector;
    double least_sum = 2;  // of a classifier's confidences, over the pictures
    double most_sum = -1;
  };
  explicit ModelCheck(ModelSpec spec) : spec_(std::move(spec)) {}
  absl::Status Read(Reader& reader, const Frame& picture, const Frame& mirrored, Detections* found);

  const ModelSpec spec_;
  std::vector<Reader> readers_;  // the first: as described
};

}  // namespace sightline
