// A backend whose sessions show what they are given: before each run the inputs go to an observer.
// Calibration sees through it exactly what the engine feeds to a model.
//
// Threads: those of the backend behind it; the observer is called on the thread that runs a session.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "infer/backend.h"

namespace sightline::cli {

// Names, types and the shapes of this run, with the bytes of each input. An error fails the run.
using InputObserver = std::function<absl::Status(std::span<const TensorInfo> inputs,
                                                 std::span<const std::span<const uint8_t>> bytes)>;

class ObservedBackend final : public InferenceBackend {
 public:
  // `backend` must outlive this and every session.
  ObservedBackend(InferenceBackend& backend, InputObserver observer)
      : backend_(backend), observer_(std::move(observer)) {}

  std::string_view name() const override { return backend_.name(); }
  std::string version() const override { return backend_.version(); }
  std::vector<std::string> providers() const override { return backend_.providers(); }
  absl::StatusOr<std::unique_ptr<InferenceSession>> Open(const SessionOptions& options) override;

 private:
  InferenceBackend& backend_;
  const InputObserver observer_;
};

}  // namespace sightline::cli
