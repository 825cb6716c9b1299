#include "serve/pictures/served_pictures.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/thread.h"

namespace sightline::serve {
namespace {

absl::Status NoPictures(const std::string& model) {
  return FailedPrecondition(
      "the model {} is not served for pictures: its settings say pictures: off", model);
}

// What fails for want of something that may come back is tried again with the next picture.
bool MayPass(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsUnavailable(status) ||
         absl::IsCancelled(status);
}

void Refuse(std::unique_ptr<PictureCall> call, ServedModel* model, const absl::Status& why) {
  if (model != nullptr) {
    model->statistics().Failed(call->times.received_us, model->clock().NowMonotonicUs());
  }
  call->done(why);
}

std::shared_ptr<PictureModel> PicturesOf(const ServedModel& model) {
  // ServedPictures alone sets companions.
  return std::static_pointer_cast<PictureModel>(model.companion());
}

}  // namespace

PictureOpener OpenerOfFiles(DetectorSources sources) {
  return [sources = std::move(sources)](const ServedModel& model,
                                        int max_batch) -> absl::StatusOr<PictureParts> {
    const ModelVersionOptions& options = model.options();
    const BackendSource backend = [&] { return sources.backend(options.backend, options.file); };
    DetectorRequest request;
    request.model = options.file;
    request.max_batch = max_batch;
    request.threads = options.settings.threads;
    request.parallel_detectors = model.instances();
    request.providers = options.settings.providers;
    if (sources.trial) request.trial = sources.trial(options.backend);
    PictureParts parts;
    SL_ASSIGN_OR_RETURN(const ModelSpec spec,
                        DescribeModelFile(options.file, backend, request.trial));
    SL_ASSIGN_OR_RETURN(parts.factory, OpenDetector(request, backend));
    parts.tasks = TasksOf(spec);
    parts.output_names = spec.output_names;
    // Where the cost in accuracy was measured: of models that find boxes and nothing else.
    const bool boxes_alone = parts.tasks.Has(PictureTask::kDetect) &&
                             !parts.tasks.Has(PictureTask::kSegment) &&
                             !parts.tasks.Has(PictureTask::kPose);
    if (boxes_alone) parts.input = spec.input;
    return parts;
  };
}

absl::StatusOr<std::unique_ptr<ServedPictures>> ServedPictures::Create(InferenceService& service,
                                                                       PictureOpener opener) {
  std::unique_ptr<ServedPictures> made(new ServedPictures(service, std::move(opener)));
  ServedPictures* const raw = made.get();
  SL_ASSIGN_OR_RETURN(made->thread_, StartThread("pictures", [raw] { raw->Loop(); }));
  service.repository().UseForPictures(
      [raw](const std::shared_ptr<ServedModel>& fresh, const ServedModel* replaced) {
        return raw->BeforeServed(*fresh, replaced);
      });
  return made;
}

ServedPictures::~ServedPictures() { Stop(); }

absl::Status ServedPictures::BeforeServed(ServedModel& fresh, const ServedModel* replaced) const {
  const PictureUse use = fresh.settings().pictures.use;
  const auto earlier = replaced != nullptr ? replaced->companion() : nullptr;
  const bool in_use = earlier != nullptr && earlier->works();
  if (use == PictureUse::kOff || (use == PictureUse::kOnDemand && !in_use)) {
    return absl::OkStatus();
  }
  auto opened = PictureModel::Open(fresh, opener_);
  if (!opened.ok()) {
    return WithContext(opened.status(), in_use ? "opening it for pictures, as the version before is"
                                               : "opening it for pictures");
  }
  fresh.SetCompanion(*std::move(opened));
  return absl::OkStatus();
}

void ServedPictures::Answer(PictureRequest&& request, PictureDone done) {
  auto call = std::make_unique<PictureCall>();
  call->request = std::move(request);
  call->done = std::move(done);
  if (PictureTypeOf(call->request.bytes).empty()) {
    return call->done(InvalidArgument("not a picture that is taken here: JPEG, PNG and WebP are"));
  }
  Dispatch(std::move(call), nullptr);
}

void ServedPictures::Dispatch(std::unique_ptr<PictureCall> call, ServedModel* refused_by) {
  std::shared_ptr<ServedModel> model;
  absl::Status status = Unavailable("the model {} is being unloaded", call->request.model);
  while (true) {
    auto found = repository_.Find(call->request.model, call->request.version);
    if (!found.ok()) return Refuse(std::move(call), model.get(), found.status());
    if (found->get() == refused_by) return Refuse(std::move(call), refused_by, status);
    model = *std::move(found);
    refused_by = model.get();
    if (call->times.received_us == 0) call->times.received_us = model->clock().NowMonotonicUs();
    if (const auto pictures = PicturesOf(*model); pictures != nullptr) {
      status = pictures->Submit(model, call);
    } else {
      status = Wait(model, call);
    }
    if (status.ok()) return;
    // Stopped between the look-up and now, most likely: a newer one may have taken its place.
    if (!absl::IsUnavailable(status)) return Refuse(std::move(call), model.get(), status);
  }
}

absl::Status ServedPictures::Wait(const std::shared_ptr<ServedModel>& model,
                                  std::unique_ptr<PictureCall>& call) {
  if (model->is_ensemble()) {
    return InvalidArgument("{} takes tensors: ask the model without the ending", model->name());
  }
  if (model->settings().pictures.use == PictureUse::kOff) return NoPictures(model->name());
  {
    const MutexLock lock(mutex_);
    if (stopping_) return Unavailable("the server is ending");
    const auto at = std::ranges::find(openings_, model, &Opening::model);
    Opening& opening = at != openings_.end() ? *at : openings_.emplace_back(Opening{model, {}});
    if (opening.calls.size() >= model->settings().queue) {
      return ResourceExhausted("{} requests wait for the model {} to be opened; try again later",
                               opening.calls.size(), model->name());
    }
    opening.calls.push_back(std::move(call));
  }
  work_.NotifyOne();
  return absl::OkStatus();
}

void ServedPictures::Loop() {
  while (true) {
    std::shared_ptr<ServedModel> model;
    {
      MutexLock lock(mutex_);
      while (openings_.empty() && !stopping_) work_.Wait(mutex_);
      if (stopping_) break;
      model = openings_.front().model;
    }
    // Opened by somebody else meanwhile, between a look and the waiting: then nothing is left to do.
    absl::Status status;
    if (model->companion() == nullptr) {
      auto opened = PictureModel::Open(*model, opener_);
      if (!opened.ok()) {
        status =
            WithContext(opened.status(),
                        fmt::format("the model {} cannot be used for pictures", model->name()));
        Log().warn("{}", MessageOf(status));
        if (!MayPass(status)) {
          status = FailedPrecondition("{}", MessageOf(status));
          model->SetCompanion(PictureModel::Broken(status));
        }
      } else if (!model->SetCompanion(*opened)) {
        (*opened)->Stop(/*discard=*/true);  // unloaded meanwhile
      } else {
        Log().info("model {} is ready for pictures, version {}", model->name(), model->version());
      }
    }
    std::vector<std::unique_ptr<PictureCall>> calls;
    {
      const MutexLock lock(mutex_);
      calls = std::move(openings_.front().calls);
      openings_.pop_front();
    }
    const bool is_open = model->companion() != nullptr;
    for (auto& call : calls) {
      if (!status.ok() && !is_open) {
        Refuse(std::move(call), model.get(), status);
      } else {
        // Where it was unloaded meanwhile a newer one may have taken its place.
        Dispatch(std::move(call), is_open ? nullptr : model.get());
      }
    }
  }
}

absl::StatusOr<PictureModelId> ServedPictures::Identify(std::string_view model,
                                                        std::string_view version) const {
  SL_ASSIGN_OR_RETURN(const std::shared_ptr<ServedModel> found, repository_.Find(model, version));
  PictureModelId id{found->name(), found->version(), found->load(), ""};
  if (const auto pictures = PicturesOf(*found); pictures != nullptr) {
    id.identity = pictures->identity();
  }
  return id;
}

void ServedPictures::Stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  work_.NotifyAll();
  if (thread_.joinable()) thread_.join();
  std::deque<Opening> rest;
  {
    const MutexLock lock(mutex_);
    rest.swap(openings_);
  }
  for (Opening& opening : rest) {
    for (auto& call : opening.calls) {
      Refuse(std::move(call), opening.model.get(), Unavailable("the server is ending"));
    }
  }
}

}  // namespace sightline::serve
