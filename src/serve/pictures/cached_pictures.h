// The result cache before a service that answers pictures (docs/serving_cache.md).
//
// Exact answers are found by the file's bytes, before anything is decoded. What a picture looks like is
// found out on the thread "looks": a JPEG is decoded at 1/2, 1/4 or 1/8 as long as its shorter side keeps
// kLeastSide px, and hashed; or a served model says its embedding. Answers with places (all but those of
// classify and embed) go only to look-alikes of the same size, since places are in px. Drawn answers hold
// the picture itself and go to the same bytes alone, whatever the kind.
//
// What is not kept: answers of a model that was exchanged meanwhile, of one that has not yet looked at
// its first picture, and errors. Beyond kMostLooks that wait a picture goes by the cache.
//
// Threads: safe. Times of a hit are 0.
#pragma once

#include <deque>
#include <memory>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"
#include "serve/inference/inference_service.h"
#include "serve/pictures/picture_service.h"

namespace sightline::serve {

class CachedPictures final : public PictureService {
 public:
  static constexpr int kLeastSide = 128;     // twice PDQ's 64 samples; chosen
  static constexpr size_t kMostLooks = 256;  // chosen

  // `inner` and `service`, whose models' settings and caches are used, outlive it. ResourceExhausted
  // without a thread.
  static absl::StatusOr<std::unique_ptr<CachedPictures>> Create(PictureService& inner,
                                                                InferenceService& service);
  ~CachedPictures() override;  // Stop()s

  void Answer(PictureRequest&& request, PictureDone done) override;
  absl::StatusOr<PictureModelId> Identify(std::string_view model,
                                          std::string_view version) const override {
    return inner_.Identify(model, version);
  }

  // What waits to be looked at goes by the cache, and later ones, too. Idempotent.
  void Stop() EXCLUDES(mutex_);

 private:
  struct Asking;
  using AskingPtr = std::shared_ptr<Asking>;

  CachedPictures(PictureService& inner, InferenceService& service)
      : inner_(inner), service_(service) {}
  void Loop() EXCLUDES(mutex_);
  void Look(const AskingPtr& asking);
  void LookByEmbedding(const AskingPtr& asking);
  void Compare(const AskingPtr& asking, PictureLook look);
  void Compute(const AskingPtr& asking, ResultCache::Computed computed);
  void Finish(const AskingPtr& asking, absl::StatusOr<CachedAnswer>&& answer);
  void GoBy(const AskingPtr& asking);

  PictureService& inner_;
  InferenceService& service_;
  Mutex mutex_;
  CondVar work_;
  std::deque<AskingPtr> looks_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sightline::serve
