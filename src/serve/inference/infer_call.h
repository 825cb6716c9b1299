// One request on its way through a model's batcher. Internal to serve/inference.
//
// Owned by itself from being accepted by the batcher to Done(), which gives the answer and ends it.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "infer/batcher.h"
#include "serve/inference/infer_message.h"
#include "serve/inference/model_statistics.h"
#include "serve/inference/request_traces.h"

namespace sightline::serve {

class ServedModel;

struct InferCall final : public BatchJob {
  void Done(const absl::Status& status) override;

  InferRequest request;
  InferDone done;
  std::shared_ptr<ServedModel> model;
  const ServedModel* prepared_for = nullptr;  // what follows, and `rows`, are right for this one
  // By the model's inputs: which of the request's it is.
  std::vector<size_t> inputs;
  struct Wanted {
    size_t output = 0;  // of the model
    int classes = 0;
    SharedPlace shared;
  };
  std::vector<Wanted> outputs;
  CallTimes times;
  RequestTraces* traces = nullptr;  // where it is traced
  InferResponse response;

  const InferInput& input(size_t port) const { return request.inputs[inputs[port]]; }
};

}  // namespace sightline::serve
