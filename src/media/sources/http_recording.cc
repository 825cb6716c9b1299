#include "media/sources/http_recording.h"

#include <deque>
#include <utility>

#include "base/ascii_text.h"
#include "base/uuid.h"
#include "media/av_log.h"
#include "media/recording_input.h"
#include "media/sources/live_address.h"
#include "media/sources/live_input.h"
#include "media/sources/live_interrupt.h"
#include "media/sources/video_file_source.h"

namespace sightline {
namespace {

// What the fingerprint is made of; chosen.
constexpr size_t kHashedPackets = 32;
constexpr int64_t kHashedBytes = 1 << 20;

class HttpRecording final : public RecordingInput {
 public:
  HttpRecording(LiveAddress address, const MediaLimits& limits, const LiveOptions& live,
                const std::string& name)
      : live_(live),
        interrupt_(live.give_up, *live.clock),
        input_(std::move(address), live_, limits, name, interrupt_) {
    input_.ReadAsRecording();
  }

  absl::Status Open() {
    interrupt_.Arm(live_.connect_timeout_us);
    return input_.Open();
  }
  bool is_recording() const { return input_.is_recording(); }

  int Read(AVPacket* packet) override {
    if (!ahead_.empty()) {
      av_packet_move_ref(packet, ahead_.front().get());
      ahead_.pop_front();
      return 0;
    }
    return ReadOn(packet);
  }
  absl::Status end() const override { return end_; }
  void Cancel() override { interrupt_.Cancel(); }
  const AVStream& stream() const override { return input_.stream(); }
  SourceInfo Describe() const override { return DescribeRecording(input_.context(), stream()); }
  std::optional<int64_t> creation_utc_us() const override {
    return CreationTimeOf(input_.context(), stream());
  }

  absl::StatusOr<Hash128> Fingerprint() override {
    const AVFormatContext& context = input_.context();
    const bool has_length = context.pb != nullptr && avio_size(context.pb) > 0;
    const int64_t length = has_length ? avio_size(context.pb) : context.duration;
    Hash128 hash = FieldHasher().Add(length).Finish();
    int64_t bytes = 0;
    while (ahead_.size() < kHashedPackets && bytes < kHashedBytes) {
      AvPacketPtr packet(av_packet_alloc());
      if (!packet) return ResourceExhausted("no memory for a packet");
      if (ReadOn(packet.get()) != 0) break;  // the end, or an error that comes again
      const Hash128 bytes_hash = HashBytes({packet->data, static_cast<size_t>(packet->size)});
      hash = FieldHasher().Add(hash).Add(bytes_hash).Finish();
      bytes += packet->size;
      ahead_.push_back(std::move(packet));
    }
    return hash;
  }

 private:
  int ReadOn(AVPacket* packet) {
    interrupt_.Arm(live_.read_timeout_us);
    const absl::StatusOr<bool> read = input_.Read(packet);
    if (read.ok()) return *read ? 0 : AVERROR_EOF;
    if (interrupt_.cause() == LiveInterrupt::Cause::kCancelled) return AVERROR_EXIT;
    end_ = read.status();
    return AVERROR_EOF;
  }

  const LiveOptions live_;
  LiveInterrupt interrupt_;
  LiveInput input_;
  std::deque<AvPacketPtr> ahead_;  // read for the fingerprint
  absl::Status end_;
};

}  // namespace

bool IsHttpAddress(const std::string& url) {
  const size_t end = url.find("://");
  if (end == std::string::npos) return false;
  const std::string scheme = AsciiLower(std::string_view(url).substr(0, end));
  return scheme == "http" || scheme == "https";
}

absl::StatusOr<std::unique_ptr<FrameSource>> OpenHttpRecording(const SourceOptions& options,
                                                               FrameLedger& ledger,
                                                               const MediaLimits& limits,
                                                               const LiveOptions& live) {
  const bool named = options.camera != nullptr && !options.camera->source.empty();
  const std::string name = named ? options.camera->source : "the recording";
  SL_ASSIGN_OR_RETURN(LiveAddress address, ParseLiveAddress(options.url, name));
  HideSecretsOf(address, name);
  RouteAvLog();
  auto input = std::make_unique<HttpRecording>(std::move(address), limits, live, name);
  SL_RETURN_IF_ERROR(input->Open());
  if (!input->is_recording()) return std::unique_ptr<FrameSource>();
  SL_ASSIGN_OR_RETURN(std::unique_ptr<FrameSource> source,
                      VideoFileSource::Create(options, ledger, limits, std::move(input), name));
  return source;
}

}  // namespace sightline
