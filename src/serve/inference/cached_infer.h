// Inference with the model's cache before it (docs/serving_cache.md). Internal to serve/inference.
//
// Inputs in shared memory are copied before they are hashed, and the model gets the copy: a client that
// writes there meanwhile changes nothing of what others are answered. Outputs that are wanted in shared
// memory are written there from the value, for whoever asked; they are never read back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "serve/cache/model_cache.h"
#include "serve/inference/infer_call.h"
#include "serve/inference/infer_message.h"
#include "serve/inference/served_model.h"

namespace sightline::serve {

struct CachedInfer {
  std::shared_ptr<ServedModel> model;
  ModelCache* cache = nullptr;  // outlives the requests
  // Where requests go that the cache has nothing for: the model has stopped meanwhile (another version
  // may have taken its place), or a value is damaged. Not through the cache again.
  std::function<void(InferRequest&& request, InferDone done)> around;
};

// As InferenceService::Infer().
void InferThroughCache(const CachedInfer& through, InferRequest&& request, InferDone done,
                       int64_t received_us);

}  // namespace sightline::serve
