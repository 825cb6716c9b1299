// Writes the runs of an InstanceMask, row after row.
#pragma once

#include <cstdint>
#include <vector>

namespace sightline {

class MaskRunWriter {
 public:
  // Runs are appended to `runs`, which is empty.
  explicit MaskRunWriter(std::vector<uint32_t>* runs) : runs_(runs) {}

  void Add(bool object, int64_t count) {
    if (count == 0) return;
    if (object != object_) {
      runs_->push_back(run_);
      run_ = 0;
      object_ = object;
    }
    run_ += static_cast<uint32_t>(count);
  }
  // Call once, when all was added.
  void End() {
    if (run_ > 0 || runs_->empty()) runs_->push_back(run_);
  }

 private:
  std::vector<uint32_t>* runs_;
  uint32_t run_ = 0;
  bool object_ = false;
};

}  // namespace sightline
