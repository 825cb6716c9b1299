#include "serve/cameras/push_cameras.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/mutex.h"
#include "serve/inference/byte_room.h"
#include "store/jsonl_details.h"
#include "store/jsonl_format.h"
#include "track/tracker.h"

namespace sightline::serve {
namespace {

constexpr size_t kMostIdBytes = 128;

// {"camera":"door","sequence":7,"capture_time":"...",
void AppendStart(const std::string& camera, uint64_t sequence, int64_t capture_utc_us,
                 std::string& out) {
  AppendLineStart(camera, out);
  out += "\"sequence\":";
  AppendNumber(sequence, out);
  out += ",\"capture_time\":";
  AppendJsonString(FormatUtc(capture_utc_us), out);
  out += ",";
}

void AppendAnswer(const PictureAnswer& answer, const Tracks* tracks, std::string& out) {
  out += "\"model\":";
  AppendJsonString(answer.model, out);
  out += ",\"version\":";
  AppendJsonString(answer.version, out);
  out += ",\"width\":";
  AppendNumber(answer.width, out);
  out += ",\"height\":";
  AppendNumber(answer.height, out);
  const Detections& found = answer.results;
  std::vector<int64_t> track_ids(found.items.size(), 0);
  if (tracks != nullptr) {
    for (const TrackedObject& track : tracks->items) {
      if (track.detection >= 0 && static_cast<size_t>(track.detection) < track_ids.size()) {
        track_ids[track.detection] = track.track_id;
      }
    }
  }
  out += ",\"detections\":[";
  for (size_t i = 0; i < found.items.size(); ++i) {
    const Detection& item = found.items[i];
    if (i > 0) out += ",";
    out += "{";
    AppendObject(item.class_id, item.confidence, item.box_px, found.labels.get(), out);
    AppendDetails(found, i, out);
    if (tracks != nullptr) {
      out += ",\"track_id\":";
      if (track_ids[i] > 0) {
        AppendNumber(track_ids[i], out);
      } else {
        out += "null";
      }
    }
    out += "}";
  }
  out += "]";
  AppendPictureResults(found, out);
  out += "}";
}

struct Outcome {
  absl::StatusOr<PictureAnswer> answer;
  std::string model;  // as asked for
  int64_t capture_utc_us = 0;
  bool track = true;
  PushCameras::Done done;
};

// The tracks of one camera; used by one thread at a time.
class CameraTracks {
 public:
  // Null where nothing can be tracked.
  const Tracks* Follow(PictureAnswer& answer, uint64_t sequence, int64_t capture_utc_us) {
    if (tracker_ == nullptr || answer.model != model_ || answer.version != version_) {
      TrackerOptions options;
      options.frame_rate = 0;  // nobody knows
      auto made = MakeTracker(options);
      if (!made.ok()) return nullptr;
      tracker_ = *std::move(made);
      model_ = answer.model;
      version_ = answer.version;
    }
    if (capture_utc_us < last_us_) ++epoch_;
    last_us_ = capture_utc_us;
    FrameMeta& frame = answer.results.frame;
    frame.ordinal = sequence;
    frame.time.pts_us = capture_utc_us;
    frame.time.capture_utc_us = capture_utc_us;
    frame.time.epoch = epoch_;
    frame.width = answer.width;
    frame.height = answer.height;
    const absl::Status status = tracker_->Update(answer.results, &tracks_);
    finished_.clear();
    tracker_->TakeFinished(&finished_);  // they are kept until then
    return status.ok() ? &tracks_ : nullptr;
  }

 private:
  std::unique_ptr<Tracker> tracker_;
  std::string model_;
  std::string version_;
  int64_t last_us_ = 0;
  uint32_t epoch_ = 0;
  Tracks tracks_;
  std::vector<TrackSummary> finished_;
};

// A picture's file, and its room.
struct RoomyBytes {
  std::shared_ptr<const ByteRoom::Taken> room;
  std::shared_ptr<const void> bytes;
};

bool IsText(std::string_view id) {
  return std::none_of(id.begin(), id.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

}  // namespace

struct PushCameras::Shared {
  Shared(PictureService& of, const PushCameraOptions& wanted, const Clock& time)
      : pictures(of), options(wanted), clock(time), room(ByteRoom::Make(wanted.most_bytes)) {}
  PictureService& pictures;
  const PushCameraOptions options;
  const Clock& clock;
  const std::shared_ptr<ByteRoom> room;  // of files
  mutable Mutex mutex;
  std::unordered_map<std::string, std::shared_ptr<Camera>> cameras GUARDED_BY(mutex);

  // The camera of that id, begun where there is none.
  absl::StatusOr<std::shared_ptr<Camera>> Find(std::string_view id, bool sends) REQUIRES(mutex);

  std::atomic<uint64_t> frames{0}, results{0}, failed{0}, refused{0}, no_room{0};
};

class PushCameras::Camera {
 public:
  Camera(std::string id, Shared& shared)
      : id_(std::move(id)), used_us_(shared.clock.NowMonotonicUs()) {}

  // 0 when too many are being worked on.
  uint64_t Begin(size_t most) {
    const MutexLock lock(mutex_);
    if (in_work_ >= most) return 0;
    ++in_work_;
    return ++taken_;
  }

  bool Add(std::shared_ptr<HttpFeed> feed, ModelNames models, size_t most) {
    const MutexLock lock(mutex_);
    std::erase_if(listeners_, [](const Listener& one) { return !one.feed->open(); });
    if (listeners_.size() >= most) return false;
    listeners_.push_back({std::move(feed), std::move(models)});
    return true;
  }

  // Sends what is next, as far as it is there; of several threads one does it for all.
  void Take(uint64_t sequence, Outcome&& outcome, Shared& shared) {
    mutex_.Lock();
    ready_.emplace(sequence, std::move(outcome));
    if (publishing_) return mutex_.Unlock();
    publishing_ = true;
    while (!ready_.empty() && ready_.begin()->first == published_ + 1) {
      Outcome next = std::move(ready_.begin()->second);
      ready_.erase(ready_.begin());
      ++published_;
      std::erase_if(listeners_, [](const Listener& one) { return !one.feed->open(); });
      const std::vector<Listener> listeners = listeners_;
      mutex_.Unlock();
      Publish(published_, std::move(next), listeners, shared);
      mutex_.Lock();
      --in_work_;
    }
    publishing_ = false;
    mutex_.Unlock();
  }

  void MarkUsed(int64_t now_us, bool sends) {
    used_us_.store(now_us, std::memory_order_relaxed);
    if (sends) has_sent_.store(true, std::memory_order_relaxed);
  }
  bool has_sent() const { return has_sent_.load(std::memory_order_relaxed); }
  bool IsIdle(int64_t now_us, int64_t idle_us) const {
    if (has_sent() && now_us - used_us_.load(std::memory_order_relaxed) < idle_us) return false;
    const MutexLock lock(mutex_);
    return in_work_ == 0 && std::none_of(listeners_.begin(), listeners_.end(),
                                         [](const Listener& one) { return one.feed->open(); });
  }

 private:
  struct Listener {
    std::shared_ptr<HttpFeed> feed;
    ModelNames models;
  };

  void Publish(uint64_t sequence, Outcome outcome, const std::vector<Listener>& listeners,
               Shared& shared) {
    std::string json;
    AppendStart(id_, sequence, outcome.capture_utc_us, json);
    const bool good = outcome.answer.ok();
    if (good) {
      PictureAnswer& answer = *outcome.answer;
      const Tracks* tracks = nullptr;
      if (outcome.track) tracks = tracks_.Follow(answer, sequence, outcome.capture_utc_us);
      AppendAnswer(answer, tracks, json);
    } else {
      json += "\"error\":";
      AppendJsonString(MessageOf(outcome.answer.status()), json);
      json += "}";
    }
    (good ? shared.results : shared.failed).fetch_add(1, std::memory_order_relaxed);
    const auto message =
        std::make_shared<const FeedMessage>(FeedMessage{.event = good ? "result" : "error",
                                                        .id = std::to_string(sequence),
                                                        .data = std::move(json)});
    for (const Listener& listener : listeners) {
      const bool may = listener.models == nullptr ||
                       std::find(listener.models->begin(), listener.models->end(), outcome.model) !=
                           listener.models->end();
      if (may) listener.feed->Send(message);
    }
    if (!outcome.done) return;
    if (good) {
      outcome.done(message);
    } else {
      outcome.done(outcome.answer.status());
    }
  }

  const std::string id_;
  std::atomic<int64_t> used_us_;
  std::atomic<bool> has_sent_{false};
  CameraTracks tracks_;  // of the thread that publishes
  mutable Mutex mutex_;
  std::vector<Listener> listeners_ GUARDED_BY(mutex_);
  std::map<uint64_t, Outcome> ready_ GUARDED_BY(mutex_);  // at most those in work
  size_t in_work_ GUARDED_BY(mutex_) = 0;
  uint64_t taken_ GUARDED_BY(mutex_) = 0;
  uint64_t published_ = 0;  // written under the lock by the thread that publishes
  bool publishing_ GUARDED_BY(mutex_) = false;
};

PushCameras::PushCameras(PictureService& pictures, const PushCameraOptions& options,
                         const Clock& clock)
    : shared_(std::make_shared<Shared>(pictures, options, clock)) {}
PushCameras::~PushCameras() = default;

absl::StatusOr<std::shared_ptr<PushCameras::Camera>> PushCameras::Shared::Find(std::string_view id,
                                                                               bool sends) {
  if (id.empty() || id.size() > kMostIdBytes || !IsText(id)) {
    return InvalidArgument("a camera's id has 1 to {} bytes of text", kMostIdBytes);
  }
  const int64_t now_us = clock.NowMonotonicUs();
  auto at = cameras.find(std::string(id));
  if (at == cameras.end() || (sends && !at->second->has_sent())) {
    std::erase_if(cameras, [&](const auto& one) {
      return one.first != id && one.second->IsIdle(now_us, options.idle_us);
    });
    const auto sending = static_cast<size_t>(
        std::ranges::count_if(cameras, [](const auto& one) { return one.second->has_sent(); }));
    if (sends && sending >= options.most_cameras) {
      return ResourceExhausted("there are {} cameras, and no more are taken", sending);
    }
    if (!sends && cameras.size() - sending >= options.most_awaited) {
      return ResourceExhausted(
          "{} cameras that have sent nothing are listened to, and no more are taken",
          options.most_awaited);
    }
    if (at == cameras.end()) {
      at = cameras.emplace(id, std::make_shared<Camera>(std::string(id), *this)).first;
    }
  }
  at->second->MarkUsed(now_us, sends);
  return at->second;
}

absl::StatusOr<uint64_t> PushCameras::Push(std::string_view id, PushedFrame&& frame, Done done) {
  // First, because whoever asks for models that there are not is to leave no cameras behind.
  SL_RETURN_IF_ERROR(
      shared_->pictures.Identify(frame.picture.model, frame.picture.version).status());
  auto room = shared_->room->Take(frame.picture.bytes.size());
  if (room == nullptr) {
    shared_->no_room.fetch_add(1, std::memory_order_relaxed);
    return Unavailable(
        "the pictures of all cameras that are being worked on hold {} MiB; try later",
        shared_->options.most_bytes >> 20);
  }
  std::shared_ptr<Camera> camera;
  {
    const MutexLock lock(shared_->mutex);
    SL_ASSIGN_OR_RETURN(camera, shared_->Find(id, /*sends=*/true));
  }
  const uint64_t sequence = camera->Begin(shared_->options.most_in_work);
  if (sequence == 0) {
    shared_->refused.fetch_add(1, std::memory_order_relaxed);
    return ResourceExhausted("{} pictures of this camera are being worked on: it is too fast",
                             shared_->options.most_in_work);
  }
  shared_->frames.fetch_add(1, std::memory_order_relaxed);
  std::string model = frame.picture.model;
  frame.picture.backing = std::make_shared<const RoomyBytes>(
      RoomyBytes{std::move(room), std::move(frame.picture.backing)});
  shared_->pictures.Answer(std::move(frame.picture),
                           [shared = shared_, camera, sequence, model = std::move(model),
                            track = frame.track, capture_utc_us = frame.capture_utc_us,
                            done = std::move(done)](absl::StatusOr<PictureAnswer>&& answer) {
                             camera->Take(sequence,
                                          {.answer = std::move(answer),
                                           .model = model,
                                           .capture_utc_us = capture_utc_us,
                                           .track = track,
                                           .done = done},
                                          *shared);
                           });
  return sequence;
}

absl::Status PushCameras::Listen(std::string_view id, std::shared_ptr<HttpFeed> feed,
                                 ModelNames models) {
  // Added under the lock: one without listeners that has sent nothing goes at any time.
  const MutexLock lock(shared_->mutex);
  SL_ASSIGN_OR_RETURN(const std::shared_ptr<Camera> camera, shared_->Find(id, /*sends=*/false));
  if (camera->Add(std::move(feed), std::move(models), shared_->options.most_listeners)) {
    return absl::OkStatus();
  }
  return ResourceExhausted("{} clients listen to this camera, and no more are taken",
                           shared_->options.most_listeners);
}

PushCameraStats PushCameras::stats() const {
  PushCameraStats stats{.frames = shared_->frames,
                        .results = shared_->results,
                        .failed = shared_->failed,
                        .refused = shared_->refused,
                        .no_room = shared_->no_room,
                        .bytes = shared_->room->taken()};
  const MutexLock lock(shared_->mutex);
  for (const auto& [id, camera] : shared_->cameras) {
    ++(camera->has_sent() ? stats.cameras : stats.awaited);
  }
  return stats;
}

void PushCameras::CollectMetrics(MetricWriter& writer) const {
  using enum MetricType;
  constexpr MetricInfo kCameras = {"sightline_push_cameras", kGauge, "Cameras that push pictures"};
  constexpr MetricInfo kAwaited = {"sightline_push_cameras_awaited", kGauge,
                                   "Cameras that have sent nothing and are listened to"};
  constexpr MetricInfo kFrames = {"sightline_push_camera_frames_total", kCounter,
                                  "Pictures taken from push cameras"};
  constexpr MetricInfo kResults = {"sightline_push_camera_results_total", kCounter,
                                   "Of these, those with a result"};
  constexpr MetricInfo kFailed = {"sightline_push_camera_failed_total", kCounter,
                                  "Of these, those with an error instead"};
  constexpr MetricInfo kRefused = {"sightline_push_camera_refused_total", kCounter,
                                   "Pictures refused because their camera was too fast"};
  constexpr MetricInfo kNoRoom = {"sightline_push_camera_no_room_total", kCounter,
                                  "Pictures refused because those of all cameras held too much"};
  constexpr MetricInfo kBytes = {"sightline_push_camera_bytes", kGauge,
                                 "Files of pictures that are being worked on"};
  const PushCameraStats now = stats();
  writer.Write(kCameras, {}, static_cast<double>(now.cameras));
  writer.Write(kAwaited, {}, static_cast<double>(now.awaited));
  writer.Write(kFrames, {}, static_cast<double>(now.frames));
  writer.Write(kResults, {}, static_cast<double>(now.results));
  writer.Write(kFailed, {}, static_cast<double>(now.failed));
  writer.Write(kRefused, {}, static_cast<double>(now.refused));
  writer.Write(kNoRoom, {}, static_cast<double>(now.no_room));
  writer.Write(kBytes, {}, static_cast<double>(now.bytes));
}

}  // namespace sightline::serve
