// Which tasks a model does.
#pragma once

#include <cstdint>
#include <string>

#include "serve/pictures/picture_service.h"
#include "types/model_spec.h"

namespace sightline::serve {

// A set of tasks, one bit each.
class PictureTasks {
 public:
  constexpr PictureTasks() = default;
  constexpr PictureTasks(std::initializer_list<PictureTask> tasks) {
    for (const PictureTask task : tasks) bits_ |= Bit(task);
  }
  constexpr bool Has(PictureTask task) const {
    return task == PictureTask::kAny || (bits_ & Bit(task)) != 0;
  }
  constexpr void Add(PictureTask task) { bits_ |= Bit(task); }

 private:
  static constexpr uint32_t Bit(PictureTask task) { return 1u << static_cast<int>(task); }
  uint32_t bits_ = 0;
};

// By family, layout and key points. Maps of what is unusual count as segments.
PictureTasks TasksOf(const ModelSpec& spec);

// InvalidArgument with what the model does and the route for it, where it does not do `wanted`.
absl::Status CheckTask(PictureTasks tasks, PictureTask wanted, const std::string& model);

}  // namespace sightline::serve
