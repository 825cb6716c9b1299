#include "remote/vision_language_model.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/ascii_text.h"
#include "base/log.h"
#include "remote/answer_cache.h"
#include "remote/ask_threads.h"
#include "remote/chat_endpoint.h"
#include "remote/question_picture.h"

namespace sightline {
namespace {

constexpr int64_t kMostTimeoutUs = 600'000'000;

// What the detectors of one model share. The threads go first.
struct SharedModel {
  VisionLanguageOptions options;
  DetectorInfo info;
  std::shared_ptr<VisionLanguageCounters> counters;
  std::unique_ptr<AnswerCache> cache;
  std::unique_ptr<ChatEndpoint> endpoint;
  std::unique_ptr<AskThreads> threads;
};

class VisionLanguageDetector : public Detector {
 public:
  explicit VisionLanguageDetector(std::shared_ptr<SharedModel> model)
      : model_(std::move(model)),
        picture_(model_->options.max_picture_side_px, model_->options.jpeg_quality) {}

  const DetectorInfo& info() const override { return model_->info; }
  const DetectTimes* last_times() const override { return &times_; }

  void Detect(std::span<DetectJob> jobs) override {
    const Clock& clock = *model_->options.clock;
    const int64_t begin_us = clock.NowMonotonicUs();
    asks_.clear();
    asked_.clear();
    for (DetectJob& job : jobs) Begin(&job);
    const int64_t asked_us = clock.NowMonotonicUs();
    for (Ask& ask : asks_) ask.deadline_us = asked_us + model_->options.timeout_us;
    const size_t turned_away = asks_.empty() ? 0 : model_->threads->AskAll(asks_);
    model_->counters->refused_waiting.Add(turned_away);
    for (size_t i = 0; i < asks_.size(); ++i) End(asked_[i], asks_[i]);
    times_ = {.preprocess_us = asked_us - begin_us,
              .inference_us = clock.NowMonotonicUs() - asked_us};
    asks_.clear();
  }

 private:
  struct Asked {
    DetectJob* job = nullptr;
    Hash128 key;
  };

  // Answers the job from the cache, or with an error, or adds it to asks_.
  void Begin(DetectJob* job) {
    model_->counters->pictures.Add();
    job->result->frame = job->frame->meta;
    job->result->labels = model_->info.labels;
    job->result->ClearResults();
    job->status = absl::OkStatus();
    const absl::Status prepared = picture_.Prepare(job->frame->image);
    if (!prepared.ok()) return NotSent(job, prepared);
    const Hash128 key = FieldHasher().Add(model_->info.identity).Add(picture_.key()).Finish();
    if (const std::optional<Answer> known = model_->cache->Find(key)) {
      model_->counters->cache_hits.Add();
      return Fill(*known, job);
    }
    absl::StatusOr<SentPicture> encoded = picture_.Encode();
    if (!encoded.ok()) return NotSent(job, encoded.status());
    asks_.push_back({.picture = std::move(encoded).value()});
    asked_.push_back({job, key});
  }

  void NotSent(DetectJob* job, const absl::Status& why) {
    model_->counters->errors.Add();
    job->status = WithContext(why, model_->info.name);
    job->failure = DropReason::kPreprocessError;
  }

  void End(const Asked& asked, const Ask& ask) {
    if (ask.answer.ok()) {
      model_->cache->Put(asked.key, *ask.answer);
      return Fill(*ask.answer, asked.job);
    }
    asked.job->status = WithContext(ask.answer.status(), model_->info.name);
    asked.job->failure = absl::IsDataLoss(ask.answer.status()) ? DropReason::kPostprocessError
                                                               : DropReason::kInferenceError;
  }

  static void Fill(const Answer& answer, DetectJob* job) {
    job->result->classes = answer.classes;
    const auto width = static_cast<double>(job->frame->image.width);
    const auto height = static_cast<double>(job->frame->image.height);
    for (const AnsweredBox& box : answer.boxes) {
      job->result->items.push_back(
          {.box_px = {static_cast<float>(box.left * width), static_cast<float>(box.top * height),
                      static_cast<float>(box.right * width),
                      static_cast<float>(box.bottom * height)},
           .confidence = box.confidence,
           .class_id = box.class_id});
    }
  }

  const std::shared_ptr<SharedModel> model_;
  QuestionPicture picture_;
  DetectTimes times_;
  std::vector<Ask> asks_;
  std::vector<Asked> asked_;  // of asks_, in their order
};

std::string DefaultQuestion(AnswerKind kind) {
  switch (kind) {
    case AnswerKind::kOneLabel:
      return "Look at this picture from a camera. Which of the labels describes it best?";
    case AnswerKind::kSeveralLabels:
      return "Look at this picture from a camera. Which of the labels apply to it?";
    case AnswerKind::kBoxes:
      break;
  }
  return "Look at this picture from a camera. Find every object that one of the labels names.";
}

bool HasControls(std::string_view text, bool lines_allowed) {
  return std::ranges::any_of(text, [&](unsigned char c) {
    return (c < 0x20 && !(lines_allowed && (c == '\n' || c == '\t'))) || c == 0x7F;
  });
}

absl::Status CheckWords(const VisionLanguageOptions& options) {
  if (options.endpoint.find_first_of("?#") != std::string::npos) {
    return InvalidArgument("the endpoint is a base such as https://host/v1, without ? and #");
  }
  SL_RETURN_IF_ERROR(WithContext(net::OriginOf(options.endpoint).status(), "the endpoint"));
  if (options.model.empty() || options.model.size() > 200 || HasControls(options.model, false)) {
    return InvalidArgument("the model wants a name of 1 to 200 bytes, as the endpoint calls it");
  }
  if (options.api_key.size() > 16 * 1024 || HasControls(options.api_key, false)) {
    return InvalidArgument("the API key holds a line end or another control character");
  }
  if (options.question.size() > 8 * 1024 || HasControls(options.question, true)) {
    return InvalidArgument("the question has more than 8 KiB or control characters");
  }
  if (options.labels.empty() || options.labels.size() > 1000) {
    return InvalidArgument("{} labels; 1 to 1000 can be asked for", options.labels.size());
  }
  std::set<std::string> seen;
  if (options.may_find_none && options.answer == AnswerKind::kOneLabel) seen.insert("none");
  for (const std::string& label : options.labels) {
    const std::string shown = ShownText(label, 60);
    const bool blank = label.find_first_not_of(' ') == std::string::npos || label.front() == ' ' ||
                       label.back() == ' ';
    if (blank || label.size() > 200 || HasControls(label, false)) {
      return InvalidArgument(
          "the label \"{}\" is empty, begins or ends with a blank, has more than 200 bytes, or "
          "control characters",
          shown);
    }
    if (!seen.insert(AsciiLower(label)).second) {
      return InvalidArgument("the label \"{}\" is there twice; the case of letters does not count",
                             shown);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckNumbers(const VisionLanguageOptions& options) {
  absl::Status status;
  const auto within = [&](const char* what, int64_t value, int64_t least, int64_t most) {
    if (value >= least && value <= most) return;
    status.Update(InvalidArgument("{} is {}; {} to {} can be", what, value, least, most));
  };
  constexpr int64_t kMostBudget = 1'000'000'000'000;
  within("max_boxes", options.max_boxes, 1, 1000);
  within("max_answer_tokens", options.max_answer_tokens, 0, 100'000);
  within("max_picture_side_px", options.max_picture_side_px, QuestionPicture::kSmallestSidePx,
         4096);
  within("jpeg_quality", options.jpeg_quality, 1, 100);
  within("connect_timeout_us", options.connect_timeout_us, 1000, kMostTimeoutUs);
  within("timeout_us", options.timeout_us, 1000, kMostTimeoutUs);
  within("retry.max_attempts", options.retry.max_attempts, 1, 20);
  within("retry.first_wait_us", options.retry.first_wait_us, 0, kMostTimeoutUs);
  within("retry.longest_wait_us", options.retry.longest_wait_us, 0, kMostTimeoutUs);
  within("max_at_once", options.max_at_once, 1, 64);
  within("max_waiting", options.max_waiting, 0, 10'000);
  within("budget.requests_per_minute", options.budget.requests_per_minute, 0, kMostBudget);
  within("budget.requests_per_hour", options.budget.requests_per_hour, 0, kMostBudget);
  within("budget.requests_per_day", options.budget.requests_per_day, 0, kMostBudget);
  within("budget.tokens_per_day", options.budget.tokens_per_day, 0, kMostBudget);
  within("cache_entries", static_cast<int64_t>(std::min<size_t>(options.cache_entries, 1 << 30)), 0,
         1'000'000);
  within("cache_ttl_us", options.cache_ttl_us, 0, kLongestDurationUs);
  return status;
}

DetectorInfo InfoOf(const VisionLanguageOptions& options, const Question& question, int max_tokens,
                    const std::string& origin) {
  DetectorInfo info;
  info.name = options.name;
  info.describe = fmt::format(
      "vision-language model {} at {}, {} labels, pictures to {} px, {} requests at once, {} s",
      ShownText(options.model, 100), origin, options.labels.size(), options.max_picture_side_px,
      options.max_at_once, static_cast<double>(options.timeout_us) / 1e6);
  // The question holds the labels and the form of the answer.
  info.identity = FieldHasher()
                      .Add("vision-language 1")
                      .Add(options.endpoint)
                      .Add(options.model)
                      .Add(QuestionText(question))
                      .Add(question.kind)
                      .Add(question.box_unit)
                      .Add(question.max_boxes)
                      .Add(max_tokens)
                      .Add(options.max_picture_side_px)
                      .Add(options.jpeg_quality)
                      .Finish();
  info.labels = std::make_shared<LabelSet>(LabelSet{options.labels});
  info.max_batch = options.max_at_once;
  info.may_wait_us = options.timeout_us;
  return info;
}

constexpr MetricInfo kPictures = {
    "sightline_vision_language_pictures_total", MetricType::kCounter,
    "Pictures by what became of them: answer, cache_hit, error, or not asked and why"};
constexpr MetricInfo kRequests = {"sightline_vision_language_requests_total", MetricType::kCounter,
                                  "Requests sent, retries included"};
constexpr MetricInfo kRetries = {"sightline_vision_language_retries_total", MetricType::kCounter,
                                 "Requests that were sent again"};
constexpr MetricInfo kTokens = {"sightline_vision_language_tokens_total", MetricType::kCounter,
                                "Tokens, as the endpoint counts them"};
constexpr MetricInfo kWithoutUsage = {
    "sightline_vision_language_replies_without_usage_total", MetricType::kCounter,
    "Answers of which the endpoint did not say how many tokens they took"};

void Collect(const VisionLanguageCounters& counters, std::string_view model, MetricWriter& writer) {
  const auto picture = [&](std::string_view outcome, const Counter& counter) {
    writer.Write(kPictures, {{"model", model}, {"outcome", outcome}},
                 static_cast<double>(counter.value()));
  };
  picture("answer", counters.answers);
  picture("cache_hit", counters.cache_hits);
  picture("error", counters.errors);
  picture("budget", counters.refused_by_budget);
  picture("paused", counters.refused_while_paused);
  picture("waiting", counters.refused_waiting);
  const auto tokens = [&](std::string_view kind, const Counter& counter) {
    writer.Write(kTokens, {{"model", model}, {"kind", kind}}, static_cast<double>(counter.value()));
  };
  tokens("prompt", counters.prompt_tokens);
  tokens("answer", counters.answer_tokens);
  const auto count = [&](const MetricInfo& metric, const Counter& counter) {
    writer.Write(metric, {{"model", model}}, static_cast<double>(counter.value()));
  };
  count(kRequests, counters.requests);
  count(kRetries, counters.retries);
  count(kWithoutUsage, counters.replies_without_usage);
}

int AnswerTokens(const VisionLanguageOptions& options) {
  if (options.max_answer_tokens > 0) return options.max_answer_tokens;
  switch (options.answer) {
    case AnswerKind::kOneLabel:
      return 100;
    case AnswerKind::kSeveralLabels:
      return 500;
    case AnswerKind::kBoxes:
      break;
  }
  return 4000;
}

absl::StatusOr<std::shared_ptr<SharedModel>> Share(const VisionLanguageOptions& options) {
  SL_RETURN_IF_ERROR(CheckWords(options));
  SL_RETURN_IF_ERROR(CheckNumbers(options));
  auto model = std::make_shared<SharedModel>();
  model->options = options;
  model->counters =
      options.counters ? options.counters : std::make_shared<VisionLanguageCounters>();
  model->cache =
      std::make_unique<AnswerCache>(options.cache_entries, options.cache_ttl_us, *options.clock);
  const Question question{
      .text = options.question.empty() ? DefaultQuestion(options.answer) : options.question,
      .labels = options.labels,
      .kind = options.answer,
      .may_find_none = options.may_find_none,
      .box_unit = options.box_unit,
      .max_boxes = options.max_boxes};
  const int max_tokens = AnswerTokens(options);
  SL_ASSIGN_OR_RETURN(model->endpoint,
                      ChatEndpoint::Create(options, question, max_tokens, model->counters));
  model->info = InfoOf(options, question, max_tokens, model->endpoint->origin());
  model->info.collect_metrics = [counters = model->counters](std::string_view name,
                                                             MetricWriter& writer) {
    Collect(*counters, name, writer);
  };
  SL_ASSIGN_OR_RETURN(model->threads,
                      AskThreads::Start(options.name, options.max_at_once, options.max_waiting,
                                        model->endpoint.get()));
  if (!options.api_key.empty() && model->endpoint->origin().starts_with("http://")) {
    Log().warn("{}: the API key goes to {} unencrypted; use https:// unless the network is yours",
               options.name, model->endpoint->origin());
  }
  return model;
}

}  // namespace

absl::StatusOr<DetectorFactory> OpenVisionLanguageModel(const VisionLanguageOptions& options) {
  absl::StatusOr<std::shared_ptr<SharedModel>> model = Share(options);
  if (!model.ok()) return WithContext(model.status(), options.name);
  return DetectorFactory(
      [shared = *std::move(model)]() -> absl::StatusOr<std::unique_ptr<Detector>> {
        return std::make_unique<VisionLanguageDetector>(shared);
      });
}

}  // namespace sightline
