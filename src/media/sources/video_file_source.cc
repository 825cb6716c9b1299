#include "media/sources/video_file_source.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "base/allocation_scope.h"
#include "base/log.h"
#include "media/av_log.h"
#include "media/demuxer.h"
#include "media/sources/decode_mode_internal.h"
#include "media/sources/frame_selector.h"
#include "media/sources/skip_planner.h"
#include "media/sources/stream_clock.h"
#include "media/video_track.h"

namespace sightline {
namespace {

constexpr int kMaxReordering = 32;  // pictures; twice what any codec allows
constexpr uint64_t kUnplanned = std::numeric_limits<uint64_t>::max();
constexpr PresentationKey kLast = {std::numeric_limits<uint32_t>::max(),
                                   std::numeric_limits<int64_t>::max(), kUnplanned};

}  // namespace

class VideoFileSource::Impl {
 public:
  Impl(const SourceOptions& options, FrameLedger& ledger, const MediaLimits& limits,
       const Tuning& tuning, std::unique_ptr<RecordingInput> input, std::string name)
      : options_(options),
        name_(std::move(name)),
        ledger_(ledger),
        limits_(limits),
        tuning_(tuning),
        input_(std::move(input)),
        selector_(options.selection) {}

  absl::Status Open();
  absl::StatusOr<std::optional<Frame>> Next();
  void Cancel() {
    cancelled_.store(true, std::memory_order_relaxed);
    input_->Cancel();
  }
  const SourceInfo& info() const { return info_; }
  uint64_t packets_spared() const { return spared_; }

 private:
  // A frame of the stream that the selection has judged.
  struct Judged {
    uint64_t ordinal = 0;
    FrameTime time;
    std::optional<SkipReason> skip;
  };
  // A packet of which no picture may come: passed over, or refused by the decoder.
  struct Pending {
    PresentationKey key;
    bool refused = false;
  };
  struct Queued {
    AvPacketPtr packet;
    bool planned = false;
  };

  absl::Status OpenDecoder();
  StreamClock::Options ClockOptions() const;
  int Feed();
  int FeedIntra();
  int FeedPlanned();
  void Send(AVPacket* packet, uint64_t sequence, const SkipPlanner::Plan* plan);
  void OnRefused(int code);
  std::optional<Frame> OnPicture();
  Judged Judge(std::optional<int64_t> stamp, bool keeps_clock);
  void CountUndecoded(const Judged& judged, bool refused);
  void SettlePending(const PresentationKey& before);
  std::optional<PresentationKey> KeyOf(uint64_t sequence) const {
    return planner_ ? planner_->KeyOf(sequence) : std::nullopt;
  }
  std::optional<Frame> MakeFrame(const Judged& judged);
  void WarnIfCutOff() const;
  absl::StatusOr<std::optional<Frame>> Finish();

  const SourceOptions options_;
  const std::string name_;
  FrameLedger& ledger_;
  const MediaLimits limits_;
  const Tuning tuning_;
  std::atomic<bool> cancelled_{false};
  SourceInfo info_;
  const std::unique_ptr<RecordingInput> input_;
  AvCodecContextPtr decoder_;
  AvPacketPtr packet_{av_packet_alloc()};
  AvFramePtr picture_{av_frame_alloc()};
  std::optional<PictureAdapter> adapter_;

  DecodeMode mode_ = DecodeMode::kPlain;
  std::optional<StreamClock> clock_;
  FrameSelector selector_;
  FrameTime last_time_;
  uint64_t next_ordinal_ = 0;
  std::optional<Judged> awaited_;  // kIntra: the picture that the last packet must give

  std::optional<SkipPlanner> planner_;  // kPlanned
  std::vector<Queued> queue_;           // ring: packets looked ahead at
  size_t queue_head_ = 0;
  size_t queue_count_ = 0;
  uint64_t next_sequence_ = 0;
  uint64_t last_sent_ = kUnplanned;
  std::vector<Pending> pending_;  // sorted
  std::optional<PresentationKey> last_key_;
  int unplanned_pictures_ = 0;  // since planning was given up

  bool input_ended_ = false;
  bool ended_ = false;
  bool finished_ = false;
  uint64_t sent_ = 0;      // packets given to the decoder
  uint64_t pictures_ = 0;  // that came out
  uint64_t refused_ = 0;   // packets that the decoder called errors
  uint64_t spared_ = 0;
};

absl::Status VideoFileSource::Impl::Open() {
  if (!packet_ || !picture_) return ResourceExhausted("{}: no memory to open it", name_);
  info_ = input_->Describe();
  SL_ASSIGN_OR_RETURN(info_.fingerprint, input_->Fingerprint());
  adapter_.emplace(OrientationOf(input_->stream()));
  const StreamClock::Options clock = ClockOptions();
  info_.clock = clock.clock;
  clock_.emplace(clock);
  SL_RETURN_IF_ERROR(OpenDecoder());
  if (mode_ == DecodeMode::kPlanned) {
    planner_.emplace(options_.selection, clock);
    pending_.reserve(SkipPlanner::kRemembered);
    queue_.resize(2 * SkipPlanner::kMaxLookahead);
    for (Queued& queued : queue_) {
      queued.packet.reset(av_packet_alloc());
      if (!queued.packet) return ResourceExhausted("{}: no memory to open it", name_);
    }
  }
  return absl::OkStatus();
}

StreamClock::Options VideoFileSource::Impl::ClockOptions() const {
  const AVStream& stream = input_->stream();
  StreamClock::Options clock{.time_base_num = stream.time_base.num,
                             .time_base_den = stream.time_base.den,
                             .wrap_bits = stream.pts_wrap_bits,
                             .fps = FrameRateOf(stream)};
  if (options_.start_utc_us) {
    clock.start_utc_us = *options_.start_utc_us;
    clock.clock = ClockSource::kConfigured;
  } else if (const std::optional<int64_t> created = input_->creation_utc_us()) {
    clock.start_utc_us = *created;
    clock.clock = ClockSource::kContainer;
  }
  return clock;
}

absl::Status VideoFileSource::Impl::OpenDecoder() {
  const AVStream& stream = input_->stream();
  SL_ASSIGN_OR_RETURN(decoder_, MakeVideoDecoder(stream, limits_, options_.decode_threads, name_));
  mode_ = ChooseDecodeMode(*stream.codecpar, *decoder_->codec, options_);
  // Frame threads hold pictures back; where packets and pictures are matched one to one, that must
  // not be.
  decoder_->thread_type =
      mode_ == DecodeMode::kIntra ? FF_THREAD_SLICE : FF_THREAD_FRAME | FF_THREAD_SLICE;
  if (mode_ == DecodeMode::kPlanned && stream.codecpar->codec_id == AV_CODEC_ID_H264) {
    // Without a stated reordering depth the decoder learns it from the pictures that it sees, of
    // which some will be missing. 4: deeper B-pyramids are not made in practice (chosen).
    decoder_->has_b_frames = std::max(decoder_->has_b_frames, 4);
  }
  return OpenVideoDecoder(decoder_.get(), name_);
}

absl::StatusOr<std::optional<Frame>> VideoFileSource::Impl::Next() {
  constexpr int kMaxRefusalsInARow =
      64;  // beyond it the decoder is stuck while it is being emptied
  int refusals = 0;
  for (;;) {
    if (cancelled_.load(std::memory_order_relaxed)) return Cancelled("{}: cancelled", name_);
    if (ended_) return Finish();
    int code = 0;
    {
      const LibraryAllocations library;
      code = avcodec_receive_frame(decoder_.get(), picture_.get());
    }
    if (code == 0) {
      refusals = 0;
      std::optional<Frame> frame = OnPicture();
      if (frame.has_value()) return frame;
    } else if (code == AVERROR_EOF) {
      SettlePending(kLast);
      ended_ = true;
    } else if (code != AVERROR(EAGAIN)) {
      OnRefused(code);
      if (++refusals > kMaxRefusalsInARow && input_ended_) ended_ = true;
    } else {
      code = Feed();
      if (code == AVERROR_EXIT) return Cancelled("{}: cancelled", name_);
    }
  }
}

// Gives the decoder its next packet, or tells it that there is none. 0 or AVERROR_EXIT.
int VideoFileSource::Impl::Feed() {
  if (mode_ == DecodeMode::kIntra) return FeedIntra();
  if (mode_ == DecodeMode::kPlanned || queue_count_ > 0) return FeedPlanned();
  const int code = input_->Read(packet_.get());
  if (code == AVERROR_EXIT) return code;
  input_ended_ = code != 0;
  Send(input_ended_ ? nullptr : packet_.get(), kUnplanned, nullptr);
  return 0;
}

int VideoFileSource::Impl::FeedIntra() {
  if (awaited_) CountUndecoded(*std::exchange(awaited_, std::nullopt), true);
  for (;;) {
    const int code = input_->Read(packet_.get());
    if (code == AVERROR_EXIT) return code;
    if (code != 0) break;
    if ((packet_->flags & AV_PKT_FLAG_DISCARD) != 0) {  // cut away by the container's edit list
      av_packet_unref(packet_.get());
      continue;
    }
    const int64_t pts = packet_->pts != AV_NOPTS_VALUE ? packet_->pts : packet_->dts;
    const Judged judged = Judge(StampOf(pts), true);
    if (!judged.skip) {
      awaited_ = judged;
    } else {
      ledger_.CountSkipped(*judged.skip);
      if (tuning_.skip_before_decoding) {
        ++spared_;
        av_packet_unref(packet_.get());
        continue;
      }
    }
    Send(packet_.get(), kUnplanned, nullptr);
    return 0;
  }
  input_ended_ = true;
  Send(nullptr, kUnplanned, nullptr);
  return 0;
}

int VideoFileSource::Impl::FeedPlanned() {
  for (;;) {
    if (queue_count_ > 0) {
      const Queued& front = queue_[queue_head_];
      std::optional<SkipPlanner::Plan> plan;
      if (front.planned && mode_ == DecodeMode::kPlanned) plan = planner_->Take();
      if (plan || !front.planned || mode_ != DecodeMode::kPlanned) {
        const uint64_t sequence = plan ? plan->key.sequence : kUnplanned;
        queue_head_ = (queue_head_ + 1) % queue_.size();
        --queue_count_;
        Send(front.packet.get(), sequence, plan ? &*plan : nullptr);
        return 0;
      }
    } else if (input_ended_) {
      Send(nullptr, kUnplanned, nullptr);
      return 0;
    } else if (mode_ != DecodeMode::kPlanned) {
      return Feed();
    }
    if (queue_count_ == queue_.size()) {  // only if the container discards packets by the dozen
      mode_ = DecodeMode::kPlain;         // from here on everything is decoded
      continue;
    }
    Queued& back = queue_[(queue_head_ + queue_count_) % queue_.size()];
    const int code = input_->Read(back.packet.get());
    if (code == AVERROR_EXIT) return code;
    if (code != 0) {
      input_ended_ = true;
      planner_->End();
      continue;
    }
    ++queue_count_;
    back.planned = (back.packet->flags & AV_PKT_FLAG_DISCARD) == 0;
    if (back.planned &&
        !planner_->Push(next_sequence_++, StampOf(back.packet->pts), StampOf(back.packet->dts))) {
      mode_ = DecodeMode::kPlain;
    }
  }
}

void VideoFileSource::Impl::Send(AVPacket* packet, uint64_t sequence,
                                 const SkipPlanner::Plan* plan) {
  const bool may_skip = plan != nullptr && plan->may_skip;
  if (may_skip) {
    const Pending entry{plan->key, false};
    pending_.insert(
        std::upper_bound(pending_.begin(), pending_.end(), entry,
                         [](const Pending& a, const Pending& b) { return a.key < b.key; }),
        entry);
  }
  last_sent_ = sequence;
  int code = 0;
  {
    const LibraryAllocations library;
    decoder_->skip_frame =
        may_skip && tuning_.skip_before_decoding ? AVDISCARD_NONREF : AVDISCARD_DEFAULT;
    decoder_->reordered_opaque = static_cast<int64_t>(sequence);
    code = avcodec_send_packet(decoder_.get(), packet);
    if (packet != nullptr) av_packet_unref(packet);
  }
  if (packet != nullptr) ++sent_;
  if (code < 0 && code != AVERROR_EOF) OnRefused(code);
}

// The decoder calls the packet that it was given last an error (with frame threads: an earlier
// one).
void VideoFileSource::Impl::OnRefused(int code) {
  if (refused_ + pictures_ >= sent_) return;  // one packet, one frame: never more than there were
  if (refused_++ == 0) {
    Log().warn("{}: a frame cannot be decoded ({}); further ones are only counted", name_,
               AvErrorText(code));
  }
  if (mode_ == DecodeMode::kIntra) {
    if (awaited_) CountUndecoded(*std::exchange(awaited_, std::nullopt), true);
    return;
  }
  const std::optional<PresentationKey> key = KeyOf(last_sent_);
  if (!key) {
    CountUndecoded(Judge(std::nullopt, false), true);
    return;
  }
  const auto at =
      std::lower_bound(pending_.begin(), pending_.end(), *key,
                       [](const Pending& a, const PresentationKey& b) { return a.key < b; });
  if (at != pending_.end() && at->key == *key) {
    at->refused = true;
  } else {
    pending_.insert(at, {*key, true});
  }
}

// Counts a frame in and gives it its number, its time and the selection's verdict. Without
// `keeps_clock` the frame's place in time is not known, and the clock stays where it is.
VideoFileSource::Impl::Judged VideoFileSource::Impl::Judge(std::optional<int64_t> stamp,
                                                           bool keeps_clock) {
  Judged judged;
  judged.ordinal = next_ordinal_++;
  ledger_.CountIn();
  if (keeps_clock) last_time_ = clock_->Next(stamp);
  judged.time = last_time_;
  judged.skip = selector_.Consider(judged.ordinal, judged.time);
  return judged;
}

void VideoFileSource::Impl::CountUndecoded(const Judged& judged, bool refused) {
  if (judged.skip) {
    if (mode_ != DecodeMode::kIntra) ledger_.CountSkipped(*judged.skip);
    return;
  }
  if (refused) {
    ledger_.CountDropped(DropReason::kDecodeError);
    return;
  }
  // Foretold to be left out, and then the frames before it were fewer than the packets (damage).
  ledger_.CountSkipped(options_.selection.every_nth > 1 ? SkipReason::kEveryNth
                                                        : SkipReason::kTargetRate);
}

void VideoFileSource::Impl::SettlePending(const PresentationKey& before) {
  size_t done = 0;
  for (; done < pending_.size() && pending_[done].key < before; ++done) {
    const Pending& entry = pending_[done];
    const bool in_order = !last_key_ || *last_key_ < entry.key;
    if (in_order) last_key_ = entry.key;
    if (!entry.refused) ++spared_;
    CountUndecoded(Judge(entry.key.pts, in_order), entry.refused);
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<int64_t>(done));
}

std::optional<Frame> VideoFileSource::Impl::OnPicture() {
  ++pictures_;
  if (mode_ == DecodeMode::kIntra) {
    if (!awaited_) {
      av_frame_unref(picture_.get());
      return std::nullopt;
    }
    return MakeFrame(*std::exchange(awaited_, std::nullopt));
  }
  const auto sequence = static_cast<uint64_t>(picture_->reordered_opaque);
  const std::optional<PresentationKey> key = KeyOf(sequence);
  if (key) {
    std::erase_if(pending_, [&](const Pending& entry) { return entry.key == *key; });
    SettlePending(*key);
    last_key_ = key;
  } else if (!pending_.empty() && ++unplanned_pictures_ > kMaxReordering) {
    SettlePending(kLast);  // planning was given up, and all that it touched has come out by now
  }
  const Judged judged = Judge(StampOf(picture_->best_effort_timestamp), true);
  if (key) planner_->Correct(sequence, judged.ordinal);
  if (judged.skip) {
    ledger_.CountSkipped(*judged.skip);
    const LibraryAllocations library;
    av_frame_unref(picture_.get());
    return std::nullopt;
  }
  return MakeFrame(judged);
}

std::optional<Frame> VideoFileSource::Impl::MakeFrame(const Judged& judged) {
  absl::StatusOr<Frame> frame = sightline::MakeFrame(picture_.get(), *adapter_, limits_,
                                                     options_.camera, judged.ordinal, judged.time);
  if (frame.ok()) return *std::move(frame);
  if (refused_++ == 0) Log().warn("{}: {}", name_, MessageOf(frame.status()));
  ledger_.CountDropped(DropReason::kDecodeError);
  av_frame_unref(picture_.get());
  return std::nullopt;
}

// Containers are off by a frame or two, and sound may go on after the pictures; a recording that
// was cut off misses more.
void VideoFileSource::Impl::WarnIfCutOff() const {
  constexpr int64_t kSlackUs = 1'000'000;
  // After a jump in the stamps the stream's time says nothing about how much was read.
  if (info_.duration_us == 0 || last_time_.epoch > 0) return;
  const int64_t read_us = last_time_.pts_us;
  if (info_.duration_us - read_us < std::max(kSlackUs, info_.duration_us / 20)) return;
  Log().warn(
      "{}: ends after {:.1f} s of the {:.1f} s that it states: it was cut off; what is there "
      "was read",
      name_, read_us * 1e-6, info_.duration_us * 1e-6);
}

absl::StatusOr<std::optional<Frame>> VideoFileSource::Impl::Finish() {
  if (std::exchange(finished_, true)) return std::optional<Frame>();
  SL_RETURN_IF_ERROR(input_->end());
  if (refused_ > 0) {
    Log().warn("{}: {} of {} frames could not be decoded", name_, refused_, next_ordinal_);
  }
  if (pictures_ == 0 && spared_ == 0) {
    if (sent_ == 0) {
      return DataLoss("{}: holds no frame; the recording was cut off or never began", name_);
    }
    return DataLoss("{}: none of its {} packets of {} could be decoded; the file is damaged", name_,
                    sent_, info_.codec);
  }
  WarnIfCutOff();
  return std::optional<Frame>();
}

VideoFileSource::VideoFileSource(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
VideoFileSource::~VideoFileSource() = default;

absl::StatusOr<std::unique_ptr<VideoFileSource>> VideoFileSource::Create(
    const SourceOptions& options, FrameLedger& ledger, const MediaLimits& limits) {
  return Create(options, ledger, limits, Tuning{});
}

absl::StatusOr<std::unique_ptr<VideoFileSource>> VideoFileSource::Create(
    const SourceOptions& options, FrameLedger& ledger, const MediaLimits& limits,
    const Tuning& tuning) {
  SL_ASSIGN_OR_RETURN(std::unique_ptr<RecordingInput> input, Demuxer::Open(options.url, limits));
  auto impl =
      std::make_unique<Impl>(options, ledger, limits, tuning, std::move(input), options.url);
  SL_RETURN_IF_ERROR(impl->Open());
  return std::unique_ptr<VideoFileSource>(new VideoFileSource(std::move(impl)));
}

absl::StatusOr<std::unique_ptr<VideoFileSource>> VideoFileSource::Create(
    const SourceOptions& options, FrameLedger& ledger, const MediaLimits& limits,
    std::unique_ptr<RecordingInput> input, const std::string& name) {
  auto impl = std::make_unique<Impl>(options, ledger, limits, Tuning{}, std::move(input), name);
  SL_RETURN_IF_ERROR(impl->Open());
  return std::unique_ptr<VideoFileSource>(new VideoFileSource(std::move(impl)));
}

const SourceInfo& VideoFileSource::info() const { return impl_->info(); }
absl::StatusOr<std::optional<Frame>> VideoFileSource::Next() { return impl_->Next(); }
void VideoFileSource::Cancel() { impl_->Cancel(); }
uint64_t VideoFileSource::packets_spared() const { return impl_->packets_spared(); }

}  // namespace sightline
