#include "serve/pictures/cached_pictures.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/thread.h"
#include "media/picture_decoder.h"
#include "serve/pictures/picture_value.h"

namespace sightline::serve {
namespace {

bool HasPlaces(const PictureRequest& request) {
  return request.task != PictureTask::kClassify && request.task != PictureTask::kEmbed;
}

// All that the answer depends on but the picture.
CacheKey ScopeOf(const PictureModelId& model, const PictureRequest& request) {
  CacheKeyHasher hasher;
  hasher.Add(std::string_view("pictures 1")).Add(model.name).Add(model.version);
  hasher.Add(model.identity).Add(request.task).Add(request.drawn);
  const PictureOptions& options = request.options;
  hasher.Add(options.confidence.has_value()).Add(options.confidence.value_or(0));
  hasher.Add(options.max_results).Add(static_cast<uint64_t>(options.classes.size()));
  for (const std::string& name : options.classes) hasher.Add(name);
  return hasher.Finish();
}

CacheKey KeyOfBytes(const CacheKey& scope, std::string_view bytes) {
  return CacheKeyHasher().Add(std::string_view("bytes")).Add(scope).Add(bytes).Finish();
}

int StepFor(const PictureDecoder& decoder) {
  int step = 1;
  if (!decoder.CanShrink()) return step;
  const int side = std::min(decoder.width(), decoder.height());
  while (2 * step <= PictureDecoder::kLargestStep &&
         side / (2 * step) >= CachedPictures::kLeastSide) {
    step *= 2;
  }
  return step;
}

}  // namespace

// One caller on its way through the cache.
struct CachedPictures::Asking {
  PictureRequest request;  // until it is computed
  PictureDone done;
  std::shared_ptr<ServedModel> model;
  ModelCache* cache = nullptr;
  PictureModelId id;
  CacheKey scope;
  CacheKey by_bytes;
  int64_t received_us = 0;
  int64_t deadline_us = 0;
  int width = 0, height = 0;  // px, where it was looked at
  bool was_submitted = false;
  std::optional<PictureAnswer> own;  // of the one that computed

  int64_t Now() const { return model->clock().NowMonotonicUs(); }
};

absl::StatusOr<std::unique_ptr<CachedPictures>> CachedPictures::Create(PictureService& inner,
                                                                       InferenceService& service) {
  std::unique_ptr<CachedPictures> made(new CachedPictures(inner, service));
  CachedPictures* const raw = made.get();
  SL_ASSIGN_OR_RETURN(made->thread_, StartThread("looks", [raw] { raw->Loop(); }));
  return made;
}

CachedPictures::~CachedPictures() { Stop(); }

void CachedPictures::Stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  work_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void CachedPictures::Answer(PictureRequest&& request, PictureDone done) {
  auto model = service_.repository().Find(request.model, request.version);
  ModelCache* const cache =
      model.ok() ? service_.caches().Find((*model)->name(), (*model)->settings().cache) : nullptr;
  if (cache == nullptr) return inner_.Answer(std::move(request), std::move(done));
  auto id = inner_.Identify(request.model, request.version);
  if (!id.ok() || id->identity.empty()) return inner_.Answer(std::move(request), std::move(done));
  const auto asking = std::make_shared<Asking>();
  asking->model = *std::move(model);
  asking->cache = cache;
  asking->id = *std::move(id);
  asking->scope = ScopeOf(asking->id, request);
  asking->by_bytes = KeyOfBytes(asking->scope, request.bytes);
  asking->received_us = asking->Now();
  const int64_t timeout_us =
      request.timeout_us > 0 ? request.timeout_us : asking->model->settings().timeout_us;
  asking->deadline_us = timeout_us > 0 ? asking->received_us + timeout_us : 0;
  asking->request = std::move(request);
  asking->done = std::move(done);
  // A drawn answer holds the pixels of the picture itself: it is for the same bytes alone.
  if (cache->settings().kind == CacheKind::kExact || asking->request.drawn != DrawnAs::kNone) {
    return cache->results().Get(
        asking->by_bytes,
        [this, asking](ResultCache::Computed computed) { Compute(asking, std::move(computed)); },
        [this, asking](absl::StatusOr<CachedAnswer>&& answer) {
          Finish(asking, std::move(answer));
        },
        asking->deadline_us);
  }
  cache->results().Find(asking->by_bytes, CacheHit::kExact, [this, asking](CachedBytes bytes) {
    if (bytes != nullptr) {
      return Finish(asking, CachedAnswer{std::move(bytes), CacheHit::kExact});
    }
    bool is_taken = false;
    {
      const MutexLock lock(mutex_);
      is_taken = !stopping_ && looks_.size() < kMostLooks;
      if (is_taken) looks_.push_back(asking);
    }
    if (!is_taken) return GoBy(asking);
    work_.NotifyOne();
  });
}

void CachedPictures::Loop() {
  while (true) {
    AskingPtr asking;
    {
      MutexLock lock(mutex_);
      while (looks_.empty() && !stopping_) work_.Wait(mutex_);
      if (looks_.empty()) return;
      asking = std::move(looks_.front());
      looks_.pop_front();
    }
    if (asking->cache->settings().kind == CacheKind::kEmbedding) {
      LookByEmbedding(asking);
    } else {
      Look(asking);
    }
  }
}

void CachedPictures::Look(const AskingPtr& asking) {
  PictureDecoder decoder;
  const std::string_view bytes = asking->request.bytes;
  const absl::Status opened =
      decoder.Open({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  // What cannot be read is the model's to refuse, in its own words.
  if (!opened.ok()) return GoBy(asking);
  const auto picture = decoder.Decode(StepFor(decoder));
  if (!picture.ok()) return GoBy(asking);
  asking->width = picture->width;
  asking->height = picture->height;
  PictureLook look;
  const auto hash = HashPicture(picture->view, asking->cache->settings().hash);
  if (hash.ok()) look.hash = *hash;
  Compare(asking, std::move(look));
}

void CachedPictures::LookByEmbedding(const AskingPtr& asking) {
  PictureRequest request;
  request.model = asking->cache->settings().embedder;
  request.bytes = asking->request.bytes;
  request.backing = asking->request.backing;
  request.task = PictureTask::kEmbed;
  request.source = asking->request.source;
  request.priority = asking->request.priority;
  request.timeout_us = asking->request.timeout_us;
  inner_.Answer(std::move(request), [this, asking](absl::StatusOr<PictureAnswer>&& answer) {
    if (!answer.ok()) return GoBy(asking);
    asking->width = answer->width;
    asking->height = answer->height;
    PictureLook look;
    look.embedding = std::move(answer->results.embedding);
    Compare(asking, std::move(look));
  });
}

void CachedPictures::Compare(const AskingPtr& asking, PictureLook look) {
  const auto compute = [this, asking](ResultCache::Computed computed) {
    Compute(asking, std::move(computed));
  };
  const auto finish = [this, asking](absl::StatusOr<CachedAnswer>&& answer) {
    if (answer.ok() && answer->hit == CacheHit::kNone) {
      asking->cache->results().Put(asking->by_bytes, answer->bytes);
    }
    Finish(asking, std::move(answer));
  };
  ModelCache& cache = *asking->cache;
  if (!cache.IsComparable(look)) {
    return cache.results().Get(asking->by_bytes, compute, finish, asking->deadline_us);
  }
  CacheKeyHasher scope;
  scope.Add(asking->scope);
  if (HasPlaces(asking->request)) scope.Add(asking->width).Add(asking->height);
  cache.GetAlike(scope.Finish(), std::move(look), compute, finish, asking->deadline_us);
}

void CachedPictures::Compute(const AskingPtr& asking, ResultCache::Computed computed) {
  asking->model->statistics().CacheMissed(asking->received_us, asking->Now());
  asking->was_submitted = true;
  inner_.Answer(std::move(asking->request),
                [this, asking, computed](absl::StatusOr<PictureAnswer>&& answer) {
                  if (!answer.ok()) return computed(answer.status());
                  const auto now = inner_.Identify(asking->id.name, asking->id.version);
                  auto bytes = PackPicture(*answer);
                  asking->own = *std::move(answer);
                  // Loads are numbered once and for all: the same before and after is the one that answered.
                  const bool is_same = now.ok() && now->load == asking->id.load &&
                                       now->identity == asking->id.identity &&
                                       asking->own->version == asking->id.version;
                  // Not for others, who compute for themselves: this caller has its answer.
                  if (!is_same || !bytes.ok()) return computed(Cancelled("not to be kept"));
                  computed(std::make_shared<const std::string>(*std::move(bytes)));
                });
}

void CachedPictures::Finish(const AskingPtr& asking, absl::StatusOr<CachedAnswer>&& answer) {
  if (asking->own) return asking->done(*std::move(asking->own));
  ModelStatistics& statistics = asking->model->statistics();
  if (!answer.ok()) {
    if (!asking->was_submitted) statistics.Failed(asking->received_us, asking->Now());
    return asking->done(answer.status());
  }
  auto result = UnpackPicture(*answer->bytes);
  if (!result.ok()) return GoBy(asking);
  result->cached = answer->hit;
  result->cached_distance = answer->distance;
  if (asking->width > 0) {
    result->width = result->results.frame.width = asking->width;
    result->height = result->results.frame.height = asking->height;
  }
  statistics.CacheHit(asking->received_us, asking->Now());
  asking->done(*std::move(result));
}

void CachedPictures::GoBy(const AskingPtr& asking) {
  inner_.Answer(std::move(asking->request), std::move(asking->done));
}

}  // namespace sightline::serve
