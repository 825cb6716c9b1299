// Runs batches of requests on one session of a model: rows of several requests behind each other in one
// input, where the model takes them.
//
// Requests whose other dimensions differ run one after the other. Where a run of several requests
// fails, each is tried alone, so that one of them does not spoil the answers of the others. No memory
// for a run or its answers is such a failure, too (ResourceExhausted).
//
// Copies: no input of a request that runs alone, where the runtime reads it from where the request has it;
// else every input once, into the session's memory; every output once, from there into the answer.
// Threads: that of its batcher.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "infer/backend.h"
#include "infer/batcher.h"
#include "serve/inference/infer_call.h"
#include "types/detections.h"

namespace sightline::serve {

struct TensorRunnerOptions {
  int max_jobs = 1;
  int64_t max_rows = 0;  // 0: the first dimension is none of rows, and every request runs alone
  std::shared_ptr<const LabelSet> labels = {};  // of classifications; may be null
  ModelStatistics* statistics = nullptr;        // outlives the runner
  const Clock* clock = &Clock::Real();
};

class TensorRunner final : public BatchRunner {
 public:
  TensorRunner(std::unique_ptr<InferenceSession> session, const TensorRunnerOptions& options)
      : session_(std::move(session)), options_(options) {}
  int max_batch() const override { return options_.max_jobs; }
  void Run(std::span<BatchJob* const> batch, std::span<absl::Status> statuses) override;

 private:
  struct Place {
    InferCall* call = nullptr;
    absl::Status* status = nullptr;
  };
  // Each of `places` that is in no error yet has been run, or has got its error.
  void RunTogether(std::span<const Place> places);
  absl::Status TryTogether(std::span<const Place> places);
  absl::Status Fill(std::span<const Place> places, int64_t rows);
  absl::Status FillPort(size_t port, std::span<const Place> places, int64_t rows);
  void Empty(std::span<const Place> places, int64_t rows, std::span<const TensorView> views);
  absl::Status TakeOutput(const TensorView& view, const InferCall::Wanted& wanted,
                          int64_t first_row, int64_t all_rows, InferCall& call) const;
  int64_t Now() const { return options_.clock->NowMonotonicUs(); }

  const std::unique_ptr<InferenceSession> session_;
  const TensorRunnerOptions options_;
  // Used again.
  std::vector<Place> waiting_, together_, later_;
  std::vector<int64_t> shape_;
};

}  // namespace sightline::serve
