// One version of a model as it looks at pictures: its detectors behind a batcher, each on a thread of its
// own that reads the header, decodes, detects and draws, so that a picture stays in one core's cache.
//
// Threads: safe. Must not be destroyed on a thread of its own: whoever takes it out of use Stop()s first.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "infer/batcher.h"
#include "media/media_limits.h"
#include "serve/inference/served_model.h"
#include "serve/pictures/picture_service.h"
#include "serve/pictures/picture_task.h"
#include "types/detector.h"
#include "types/model_spec.h"

namespace sightline::serve {

// One request on its way. Owned by itself from being accepted by the batcher to Done(), which answers.
struct PictureCall final : public BatchJob {
  void Done(const absl::Status& status) override;

  PictureRequest request;
  PictureDone done;
  std::shared_ptr<ServedModel> model;
  std::vector<int32_t> class_ids;  // of options.classes
  CallTimes times;
  PictureAnswer answer;
};

// What a model is for pictures.
struct PictureParts {
  DetectorFactory factory;
  PictureTasks tasks;
  // How its pictures become tensors; width 0: not known, and they are never decoded smaller.
  TensorRecipe input;
  // Of the file, which its results are made of; empty: all of them.
  std::vector<std::string> output_names;
};

// The parts of a model's version: what it is, and how its detectors are made. With that many rows a run.
using PictureOpener =
    std::function<absl::StatusOr<PictureParts>(const ServedModel& model, int max_batch)>;

class PictureModel final : public ModelCompanion {
 public:
  // Opens the detectors, as many as the model has sessions, and shows each a blank picture.
  // Cost: loading the model anew.
  static absl::StatusOr<std::shared_ptr<PictureModel>> Open(const ServedModel& model,
                                                            const PictureOpener& opener);
  // One that answers everything with that error.
  static std::shared_ptr<PictureModel> Broken(absl::Status why);

  bool works() const override { return why_broken_.ok(); }
  PictureTasks tasks() const { return tasks_; }
  const std::string& identity() const { return identity_; }

  // Takes the request; refused `call` is left as it was: InvalidArgument for what makes no sense or is not
  // the model's task; ResourceExhausted when too many wait; Unavailable after Stop().
  absl::Status Submit(std::shared_ptr<ServedModel> model, std::unique_ptr<PictureCall>& call);

  void Stop(bool discard) override;

 private:
  absl::Status Prepare(PictureCall& call) const;

  absl::Status why_broken_;
  PictureTasks tasks_;
  std::string identity_;
  std::shared_ptr<const LabelSet> labels_;
  std::unique_ptr<Batcher> batcher_;  // last: its threads use what stands above
};

// The numbers of these classes, rising: names, whatever their case, or numbers. InvalidArgument with the
// nearest name for one that there is not.
absl::StatusOr<std::vector<int32_t>> ClassIdsOf(const std::vector<std::string>& classes,
                                                const LabelSet& labels);

// Leaves what the options let through. `class_ids` are options.classes.
void KeepWanted(const PictureOptions& options, const std::vector<int32_t>& class_ids,
                Detections& results);

// The largest number of pictures in a run: as the settings say; of those that say nothing 1 on a
// processor, where larger runs gain nothing.
int PictureBatchOf(const ModelSettings& settings);

}  // namespace sightline::serve
