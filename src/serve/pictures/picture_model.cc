#include "serve/pictures/picture_model.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/ascii_text.h"
#include "base/nearest_word.h"
#include "serve/cache/cache_key.h"
#include "serve/pictures/picture_runner.h"

namespace sightline::serve {
namespace {

constexpr int kDeviceBatch = 8;  // pictures of a run on a device; chosen
constexpr size_t kLongestShown = 100;

absl::Status ShowBlank(Detector& detector) {
  constexpr int kSide = 64;
  const std::vector<uint8_t> grey(size_t{3} * kSide * kSide, 128);
  Frame blank;
  blank.image = {.format = PixelFormat::kBgr24,
                 .range = ColorRange::kFull,
                 .width = kSide,
                 .height = kSide,
                 .planes = {grey.data()},
                 .strides = {3 * kSide}};
  Detections found;
  DetectJob job{.frame = &blank, .result = &found, .status = {}};
  detector.Detect({&job, 1});
  return job.status;
}

// Hashes all that a version's answers depend on beside the request. The detector's own identity says
// nothing of labels, runtime and outputs; `model.content()` is of the files when the model was loaded,
// `info` and `parts` of the same files when they were opened for pictures.
std::string IdentityOf(const ServedModel& model, const DetectorInfo& info,
                       const PictureParts& parts) {
  const auto add = [](CacheKeyHasher& hasher, const std::vector<std::string>& names) {
    hasher.Add(static_cast<uint64_t>(names.size()));
    for (const std::string& name : names) hasher.Add(name);
  };
  CacheKeyHasher hasher;
  hasher.Add(info.identity.high).Add(info.identity.low).Add(info.max_batch);
  hasher.Add(model.settings().pictures.shrink).Add(model.content()).Add(model.backend());
  add(hasher, model.settings().providers);
  add(hasher, parts.output_names);
  hasher.Add(info.labels != nullptr);
  if (info.labels != nullptr) add(hasher, info.labels->names);
  return ToHex(hasher.Finish());
}

}  // namespace

void PictureCall::Done(const absl::Status& status) {
  const std::unique_ptr<PictureCall> self(this);
  const Clock& clock = model->clock();
  const int64_t now_us = clock.NowMonotonicUs();
  const PictureDone tell = std::move(done);
  model->Ended(*this, times, now_us);
  if (RequestContext* const context = request.context.get(); context != nullptr) {
    context->submitted_us.store(times.received_us, std::memory_order_relaxed);
    context->began_us.store(times.began_us, std::memory_order_relaxed);
    context->computed_us.store(times.emptied_us, std::memory_order_relaxed);
  }
  if (!status.ok()) {
    model->statistics().Failed(times.received_us, now_us);
    return tell(status);
  }
  model->statistics().Succeeded(1, times, now_us, clock.NowUtcUs());
  request.backing.reset();
  tell(std::move(answer));
}

int PictureBatchOf(const ModelSettings& settings) {
  if (settings.max_batch > 0) return settings.max_batch;
  return settings.providers.empty() || settings.providers[0] == "cpu" ? 1 : kDeviceBatch;
}

absl::StatusOr<std::shared_ptr<PictureModel>> PictureModel::Open(const ServedModel& model,
                                                                 const PictureOpener& opener) {
  const ModelSettings& settings = model.settings();
  SL_ASSIGN_OR_RETURN(const PictureParts parts, opener(model, PictureBatchOf(settings)));
  auto made = std::make_shared<PictureModel>();
  made->tasks_ = parts.tasks;
  std::vector<std::unique_ptr<BatchRunner>> runners;
  int max_batch = 1;
  for (int i = 0; i < std::max(1, model.instances()); ++i) {
    SL_ASSIGN_OR_RETURN(std::unique_ptr<Detector> detector, parts.factory());
    const DetectorInfo& info = detector->info();
    if (info.stateful) {
      return FailedPrecondition("{} follows a camera from picture to picture and is not served",
                                info.name);
    }
    if (i == 0) {
      made->labels_ = info.labels != nullptr ? info.labels : std::make_shared<LabelSet>();
      made->identity_ = IdentityOf(model, info, parts);
      max_batch = std::max(1, info.max_batch);
    }
    SL_RETURN_IF_ERROR(WithContext(ShowBlank(*detector), "trying the model on a blank picture"));
    runners.push_back(std::make_unique<PictureRunner>(
        std::move(detector),
        PictureRunnerOptions{.input = settings.pictures.shrink ? parts.input : TensorRecipe(),
                             .clock = &model.clock()}));
  }
  BatcherOptions batching;
  batching.name = model.name() + "_pictures";
  batching.queue_capacity = settings.queue;
  batching.max_batch = max_batch;
  batching.max_delay_us = settings.max_delay_us;
  batching.default_priority = settings.priority;
  batching.clock = &model.clock();
  batching.nice = kRunnersNice;
  SL_ASSIGN_OR_RETURN(made->batcher_, Batcher::Create(batching, std::move(runners)));
  return made;
}

std::shared_ptr<PictureModel> PictureModel::Broken(absl::Status why) {
  auto made = std::make_shared<PictureModel>();
  made->why_broken_ = std::move(why);
  return made;
}

absl::Status PictureModel::Submit(std::shared_ptr<ServedModel> model,
                                  std::unique_ptr<PictureCall>& call) {
  SL_RETURN_IF_ERROR(why_broken_);
  call->answer.model = model->name();
  call->answer.version = model->version();
  SL_RETURN_IF_ERROR(Prepare(*call));
  call->priority = call->request.priority > 0 ? call->request.priority : model->settings().priority;
  call->source = call->request.source;
  const int64_t timeout_us =
      call->request.timeout_us > 0 ? call->request.timeout_us : model->settings().timeout_us;
  if (!call->request.is_part) {
    SL_RETURN_IF_ERROR(model->CheckWait(call->priority, timeout_us, call->request.context.get()));
  }
  call->deadline_us = timeout_us > 0 ? call->times.received_us + timeout_us : 0;
  ServedModel& kept = *model;
  call->model = std::move(model);
  PictureCall* const job = call.release();
  const absl::Status status = kept.Enqueue(*batcher_, job);
  if (!status.ok()) {
    call.reset(job);
    call->model = nullptr;
  }
  return status;
}

absl::Status PictureModel::Prepare(PictureCall& call) const {
  const PictureOptions& options = call.request.options;
  SL_RETURN_IF_ERROR(CheckTask(tasks_, call.request.task, call.answer.model));
  if (options.confidence && !(*options.confidence >= 0 && *options.confidence <= 1)) {
    return InvalidArgument("a confidence of {} is not within 0 to 1", *options.confidence);
  }
  if (options.max_results < 0) {
    return InvalidArgument("{} results at most: 0 (all) or more are possible", options.max_results);
  }
  if (options.classes.empty()) return absl::OkStatus();
  SL_ASSIGN_OR_RETURN(call.class_ids, ClassIdsOf(options.classes, *labels_));
  return absl::OkStatus();
}

void PictureModel::Stop(bool discard) {
  if (batcher_ != nullptr) batcher_->Stop(discard);
}

absl::StatusOr<std::vector<int32_t>> ClassIdsOf(const std::vector<std::string>& classes,
                                                const LabelSet& labels) {
  std::vector<int32_t> ids;
  for (const std::string& one : classes) {
    const size_t before = ids.size();
    for (size_t i = 0; i < labels.names.size(); ++i) {
      if (SameWord(labels.names[i], one)) ids.push_back(static_cast<int32_t>(i));
    }
    if (ids.size() > before) continue;
    int32_t number = 0;
    const char* const end = one.data() + one.size();
    const auto [stop, error] = std::from_chars(one.data(), end, number);
    if (error == std::errc() && stop == end && number >= 0) {
      ids.push_back(number);
      continue;
    }
    const std::vector<std::string_view> known(labels.names.begin(), labels.names.end());
    const std::string near = NearestWord(one, known);
    return InvalidArgument("the model has no class \"{}\"{}", ShownText(one, kLongestShown),
                           near.empty() ? "" : fmt::format(", did you mean \"{}\"?", near));
  }
  std::ranges::sort(ids);
  return ids;
}

void KeepWanted(const PictureOptions& options, const std::vector<int32_t>& class_ids,
                Detections& results) {
  const float least = options.confidence.value_or(0);
  const auto keep = [&](const auto& one) {
    if (options.confidence && one.confidence < least) return false;
    return options.classes.empty() || std::ranges::binary_search(class_ids, one.class_id);
  };
  const auto filter = [&](auto& list) {
    std::erase_if(list, [&](const auto& one) { return !keep(one); });
    const auto most = static_cast<size_t>(options.max_results);
    if (most > 0 && list.size() > most) list.resize(most);
  };
  filter(results.items);
  filter(results.classes);
}

}  // namespace sightline::serve
