#include "media/sources/live_stream.h"

#include <array>
#include <atomic>
#include <utility>

#include "base/allocation_scope.h"
#include "base/log.h"
#include "media/av_log.h"
#include "media/hardware_decode_internal.h"
#include "media/sources/decode_mode_internal.h"
#include "media/sources/frame_selector.h"
#include "media/sources/live_address.h"
#include "media/sources/live_clock.h"
#include "media/sources/live_input.h"
#include "media/video_track.h"

namespace sightline {
namespace {

// Decoders remember which of these packets a picture came of; more than any holds back.
constexpr size_t kRememberedPackets = 64;
// Then the decoder may try: a stream that refreshes its pictures bit by bit may have no key frames
// at all. Chosen: longer than any camera's group of pictures.
constexpr int kMaxPacketsWithoutKey = 1000;

bool StandsAlone(AVCodecID id) {
  const AVCodecDescriptor* descriptor = avcodec_descriptor_get(id);
  return descriptor != nullptr && (descriptor->props & AV_CODEC_PROP_INTRA_ONLY) != 0;
}

absl::Status CheckLiveOptions(const LiveOptions& live, std::string_view name) {
  if (live.connect_timeout_us < 0 || live.read_timeout_us < 0) {
    return InvalidArgument("{}: a timeout is below zero; 0 stands for none", name);
  }
  if (live.tls.certificate_file.empty() != live.tls.key_file.empty()) {
    return InvalidArgument("{}: a client certificate needs both certificate_file and key_file",
                           name);
  }
  return absl::OkStatus();
}

}  // namespace

class LiveStream::Impl {
 public:
  Impl(const SourceOptions& options, LiveAddress address, FrameLedger& ledger,
       const MediaLimits& limits, const LiveOptions& live, std::string name)
      : options_(options),
        live_(live),
        ledger_(ledger),
        limits_(limits),
        name_(std::move(name)),
        interrupt_(live.give_up, *live.clock),
        input_(std::move(address), live_, limits, name_, interrupt_),
        selector_(options.selection) {}

  ~Impl() {
    if (first_) ledger_.CountDropped(DropReason::kShutdown);  // nobody asked for it
  }

  absl::Status Connect();
  absl::StatusOr<std::optional<Frame>> Next();
  void Cancel() { interrupt_.Cancel(); }
  const SourceInfo& info() const { return info_; }
  bool is_recording() const { return input_.is_recording(); }
  const HardwareChoice& hardware() const { return hardware_; }
  uint64_t parameters_changed() const { return changes_.load(std::memory_order_relaxed); }

 private:
  struct Judged {
    uint64_t ordinal = 0;
    FrameTime time;
    std::optional<SkipReason> skip;
  };
  // What a packet says of the time of its picture.
  struct Timing {
    int64_t arrival_utc_us = 0;
    std::optional<int64_t> sender_utc_us;
    std::optional<int64_t> arrival_stamp_us;  // where the stream has no stamps
  };

  absl::Status OpenDecoder();
  void StartClock();
  absl::StatusOr<bool> Feed();
  void Send(AVPacket* packet);
  bool DropUndecoded(const AVPacket& packet);
  void TakeTiming(const AVPacket& packet);
  void ReadSenderClock(const AVPacket& packet, int64_t stamp_us);
  Judged Judge(std::optional<int64_t> stamp, const Timing& timing);
  void OnRefused(int code);
  absl::StatusOr<std::optional<Frame>> Decode();
  std::optional<Frame> OnPicture();
  void NoteParameters();

  const SourceOptions options_;
  const LiveOptions live_;
  FrameLedger& ledger_;
  const MediaLimits limits_;
  const std::string name_;
  LiveInterrupt interrupt_;
  LiveInput input_;
  ConnectPhases phases_;
  SourceInfo info_;
  HardwareChoice hardware_;
  AvCodecContextPtr decoder_;
  AVPixelFormat device_format_ = AV_PIX_FMT_NONE;
  AvPacketPtr packet_{av_packet_alloc()};
  AvFramePtr picture_{av_frame_alloc()};
  std::optional<PictureAdapter> adapter_;

  std::optional<LiveClock> clock_;
  std::optional<SenderClock> sender_;
  std::array<Timing, kRememberedPackets> timings_;  // by packet number
  uint64_t packets_ = 0;
  std::optional<Timing> coming_;  // of the packet after the last one read
  std::optional<int64_t> sender_reading_us_;
  FrameSelector selector_;
  uint64_t next_ordinal_ = 0;
  FrameTime last_time_;

  bool connected_ = false;
  bool waits_for_key_ = false;
  int waited_packets_ = 0;
  bool stands_alone_ = false;
  std::optional<Judged> awaited_;    // stands_alone_: the picture that the last packet must give
  std::optional<Frame> first_;       // decoded by Connect() to learn its size
  std::optional<absl::Status> end_;  // OK: the stream's own
  uint64_t sent_ = 0;
  uint64_t pictures_ = 0;
  uint64_t refused_ = 0;
  int width_ = 0;
  int height_ = 0;
  int format_ = -1;
  std::atomic<uint64_t> changes_{0};
};

absl::Status LiveStream::Impl::Connect() {
  if (!packet_ || !picture_) return ResourceExhausted("{}: no memory to open it", name_);
  RouteAvLog();
  interrupt_.Arm(live_.connect_timeout_us);
  if (interrupt_.Poll() != LiveInterrupt::Cause::kNone) return input_.InterruptError();
  SL_RETURN_IF_ERROR(input_.Open());
  phases_ = input_.phases();
  SL_RETURN_IF_ERROR(OpenDecoder());
  const AVRational time_base = input_.stream().time_base;
  sender_.emplace(time_base.num == 1 ? time_base.den : 0);
  info_.container = input_.container();
  DescribeTrack(input_.stream(), &info_);
  info_.live = true;
  info_.clock = ClockSource::kArrival;
  if (info_.width <= 0 || info_.height <= 0) {
    // Only a picture says it. The ledger sees the frames on the way to it.
    SL_ASSIGN_OR_RETURN(first_, Decode());
    if (!first_) return Unavailable("{}: the stream ended before its first picture", name_);
    info_.width = first_->meta.width;
    info_.height = first_->meta.height;
    if (info_.fps <= 0 && decoder_->framerate.num > 0) info_.fps = av_q2d(decoder_->framerate);
  }
  connected_ = true;
  return absl::OkStatus();
}

absl::Status LiveStream::Impl::OpenDecoder() {
  const AVStream& stream = input_.stream();
  SL_ASSIGN_OR_RETURN(decoder_, MakeVideoDecoder(stream, limits_, options_.decode_threads, name_));
  decoder_->thread_type = FF_THREAD_SLICE;  // frame threads hold a picture back for each
  decoder_->flags |= AV_CODEC_FLAG_LOW_DELAY;
  hardware_ = SetUpHardware(live_.hardware, decoder_.get(), &device_format_);
  stands_alone_ = StandsAlone(stream.codecpar->codec_id);
  waits_for_key_ = !stands_alone_;
  adapter_.emplace(OrientationOf(stream));
  return OpenVideoDecoder(decoder_.get(), name_);
}

void LiveStream::Impl::StartClock() {
  const AVStream& stream = input_.stream();
  LiveClock::Options clock;
  clock.last_capture_utc_us = live_.last_capture_utc_us;
  clock.stream.fps = FrameRateOf(stream);
  // What the pictures say of it, once one was decoded; the first picture of RTSP may have no stamp.
  if (clock.stream.fps <= 0 && decoder_->framerate.num > 0) {
    clock.stream.fps = av_q2d(decoder_->framerate);
  }
  if (input_.has_stamps()) {
    clock.stream.time_base_num = stream.time_base.num;
    clock.stream.time_base_den = stream.time_base.den;
    clock.stream.wrap_bits = stream.pts_wrap_bits;
  }
  clock_.emplace(clock);
}

absl::StatusOr<std::optional<Frame>> LiveStream::Impl::Next() {
  if (!connected_) return FailedPrecondition("{}: not connected", name_);
  if (first_) return std::exchange(first_, std::nullopt);
  interrupt_.Arm(live_.read_timeout_us);  // the caller's own time does not count
  return Decode();
}

absl::StatusOr<std::optional<Frame>> LiveStream::Impl::Decode() {
  constexpr int kMaxRefusalsInARow = 64;  // beyond it the decoder is stuck while it is emptied
  int refusals = 0;
  bool emptying = false;
  for (;;) {
    if (end_) {
      if (!end_->ok()) return *end_;
      return std::optional<Frame>();
    }
    int code = 0;
    {
      const LibraryAllocations library;
      code = avcodec_receive_frame(decoder_.get(), picture_.get());
    }
    if (code == 0) {
      refusals = 0;
      std::optional<Frame> frame = OnPicture();
      if (frame) return frame;
    } else if (code == AVERROR_EOF) {
      end_ = absl::OkStatus();
    } else if (code != AVERROR(EAGAIN)) {
      OnRefused(code);
      if (++refusals > kMaxRefusalsInARow && emptying) end_ = absl::OkStatus();
    } else {
      const absl::StatusOr<bool> fed = Feed();
      if (!fed.ok()) end_ = fed.status();
      if (fed.ok() && !*fed) {
        emptying = true;
        Send(nullptr);
      }
    }
  }
}

// Gives the decoder its next packet; false at the end of the stream.
absl::StatusOr<bool> LiveStream::Impl::Feed() {
  if (awaited_) {
    awaited_.reset();
    ledger_.CountDropped(DropReason::kDecodeError);
  }
  for (;;) {
    SL_ASSIGN_OR_RETURN(const bool more, input_.Read(packet_.get()));
    if (!more) return false;
    // Packets are a sign of life, also on a long way to the first key frame.
    interrupt_.Arm(connected_ ? live_.read_timeout_us : live_.connect_timeout_us);
    if (phases_.first_packet_us == 0) phases_.first_packet_us = live_.clock->NowMonotonicUs();
    TakeTiming(*packet_);
    if (input_.stream().codecpar->codec_id != decoder_->codec_id) {
      SL_RETURN_IF_ERROR(OpenDecoder());
      changes_.fetch_add(1, std::memory_order_relaxed);
    }
    if (!DropUndecoded(*packet_)) break;
    const LibraryAllocations library;
    av_packet_unref(packet_.get());
  }
  Send(packet_.get());
  return true;
}

void LiveStream::Impl::Send(AVPacket* packet) {
  int code = 0;
  {
    const LibraryAllocations library;
    decoder_->reordered_opaque = static_cast<int64_t>(packets_ - 1);
    code = avcodec_send_packet(decoder_.get(), packet);
    if (packet != nullptr) av_packet_unref(packet);
  }
  if (packet != nullptr) ++sent_;
  if (code < 0 && code != AVERROR_EOF) OnRefused(code);
}

// What need not or cannot be decoded is counted at once.
bool LiveStream::Impl::DropUndecoded(const AVPacket& packet) {
  const int64_t pts = packet.pts != AV_NOPTS_VALUE ? packet.pts : packet.dts;
  const Timing& timing = timings_[(packets_ - 1) % kRememberedPackets];
  if (stands_alone_) {
    const Judged judged = Judge(StampOf(pts), timing);
    if (!judged.skip) awaited_ = judged;
    if (judged.skip) ledger_.CountSkipped(*judged.skip);
    return judged.skip.has_value();
  }
  if (!waits_for_key_) return false;
  waits_for_key_ =
      (packet.flags & AV_PKT_FLAG_KEY) == 0 && ++waited_packets_ < kMaxPacketsWithoutKey;
  if (!waits_for_key_) return false;
  const Judged judged = Judge(StampOf(pts), timing);
  if (judged.skip) {
    ledger_.CountSkipped(*judged.skip);
  } else {
    ledger_.CountDropped(DropReason::kNoKeyFrame);
  }
  return true;
}

// A parser lets a packet go when the next one begins, and with it the next one's side data: what
// comes with a packet, arrival included, is then the following one's.
void LiveStream::Impl::TakeTiming(const AVPacket& packet) {
  Timing now;
  now.arrival_utc_us = live_.clock->NowUtcUs();
  if (!input_.has_stamps()) now.arrival_stamp_us = live_.clock->NowMonotonicUs();
  size_t size = 0;
  const uint8_t* data = av_packet_get_side_data(&packet, AV_PKT_DATA_PRFT, &size);
  if (data != nullptr && size >= sizeof(AVProducerReferenceTime)) {
    now.sender_utc_us = reinterpret_cast<const AVProducerReferenceTime*>(data)->wallclock;
  }
  const bool late = input_.hands_on_late();
  const Timing own = late && coming_ ? *coming_ : now;
  coming_ = now;
  Timing& kept = timings_[packets_++ % kRememberedPackets];
  kept = own;
  const std::optional<int64_t> stamp = StampOf(packet.pts);
  if (late && packets_ == 1) kept.sender_utc_us.reset();
  if (!stamp || !sender_) return;
  const int64_t stamp_us =
      av_rescale_q(*stamp, input_.stream().time_base, AVRational{1, 1'000'000});
  if (kept.sender_utc_us) sender_->Read(*kept.sender_utc_us, stamp_us);
  kept.sender_utc_us = sender_->At(stamp_us);
}

// Counts a frame in and gives it its number, its time and the selection's verdict.
LiveStream::Impl::Judged LiveStream::Impl::Judge(std::optional<int64_t> stamp,
                                                 const Timing& timing) {
  Judged judged;
  judged.ordinal = next_ordinal_++;
  ledger_.CountIn();
  if (timing.arrival_stamp_us) stamp = timing.arrival_stamp_us;
  if (!clock_) StartClock();  // not before: by now the decoder may know the rate
  last_time_ = clock_->Next(stamp, timing.arrival_utc_us, timing.sender_utc_us);
  judged.time = last_time_;
  judged.skip = selector_.Consider(judged.ordinal, judged.time);
  return judged;
}

// The decoder calls a packet an error: a frame whose place in time is not known.
void LiveStream::Impl::OnRefused(int code) {
  if (refused_ + pictures_ >= sent_) return;  // one packet, one frame: never more than there were
  if (refused_++ == 0) {
    Log().warn("{}: a frame cannot be decoded ({}); further ones are only counted", name_,
               AvErrorText(code));
  }
  if (stands_alone_) {
    if (awaited_) ledger_.CountDropped(DropReason::kDecodeError);
    awaited_.reset();
    return;
  }
  const uint64_t ordinal = next_ordinal_++;
  ledger_.CountIn();
  if (const std::optional<SkipReason> skip = selector_.Consider(ordinal, last_time_)) {
    ledger_.CountSkipped(*skip);
  } else {
    ledger_.CountDropped(DropReason::kDecodeError);
  }
}

void LiveStream::Impl::NoteParameters() {
  const bool same =
      picture_->width == width_ && picture_->height == height_ && picture_->format == format_;
  if (same) return;
  if (format_ != -1) changes_.fetch_add(1, std::memory_order_relaxed);
  width_ = picture_->width;
  height_ = picture_->height;
  format_ = picture_->format;
}

std::optional<Frame> LiveStream::Impl::OnPicture() {
  if (pictures_++ == 0) {
    phases_.first_picture_us = live_.clock->NowMonotonicUs();
    Log().debug("{}: {}", name_, phases_.Describe());
  }
  NoteParameters();
  Judged judged;
  if (stands_alone_) {
    if (!awaited_) {
      av_frame_unref(picture_.get());
      return std::nullopt;
    }
    judged = *std::exchange(awaited_, std::nullopt);
  } else {
    const auto packet = static_cast<uint64_t>(picture_->reordered_opaque);
    judged = Judge(StampOf(picture_->best_effort_timestamp), timings_[packet % kRememberedPackets]);
  }
  if (judged.skip) {
    ledger_.CountSkipped(*judged.skip);
    const LibraryAllocations library;
    av_frame_unref(picture_.get());
    return std::nullopt;
  }
  absl::StatusOr<Frame> frame;
  const int fetched = picture_->format == device_format_ ? FetchFromDevice(picture_.get()) : 0;
  if (fetched < 0) {
    frame = Unavailable("a picture could not be fetched from the {} device: {}", hardware_.name,
                        AvErrorText(fetched));
  } else {
    frame =
        MakeFrame(picture_.get(), *adapter_, limits_, options_.camera, judged.ordinal, judged.time);
  }
  if (frame.ok()) return *std::move(frame);
  if (refused_++ == 0) Log().warn("{}: {}", name_, MessageOf(frame.status()));
  ledger_.CountDropped(DropReason::kDecodeError);
  av_frame_unref(picture_.get());
  return std::nullopt;
}

bool IsLiveAddress(const std::string& url) {
  if (url.starts_with("/dev/video")) return true;
  const size_t end = url.find("://");
  return end != std::string::npos && IsLiveScheme(std::string_view(url).substr(0, end));
}

absl::StatusOr<std::unique_ptr<LiveStream>> LiveStream::Create(const SourceOptions& options,
                                                               FrameLedger& ledger,
                                                               const MediaLimits& limits,
                                                               const LiveOptions& live) {
  const bool named = options.camera != nullptr && !options.camera->source.empty();
  const std::string name = named ? options.camera->source : "the camera";
  SL_ASSIGN_OR_RETURN(LiveAddress address, ParseLiveAddress(options.url, name));
  SL_RETURN_IF_ERROR(CheckLiveOptions(live, name));
  HideSecretsOf(address, name);
  return std::unique_ptr<LiveStream>(new LiveStream(
      std::make_unique<Impl>(options, std::move(address), ledger, limits, live, name)));
}

LiveStream::LiveStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LiveStream::~LiveStream() = default;

absl::Status LiveStream::Connect() { return impl_->Connect(); }
absl::StatusOr<std::optional<Frame>> LiveStream::Next() { return impl_->Next(); }
void LiveStream::Cancel() { impl_->Cancel(); }
const SourceInfo& LiveStream::info() const { return impl_->info(); }
bool LiveStream::is_recording() const { return impl_->is_recording(); }
const HardwareChoice& LiveStream::hardware() const { return impl_->hardware(); }
uint64_t LiveStream::parameters_changed() const { return impl_->parameters_changed(); }

}  // namespace sightline
