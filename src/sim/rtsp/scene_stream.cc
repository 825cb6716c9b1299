#include "sim/rtsp/scene_stream.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "sim/sim_source.h"

namespace sightline::sim {
namespace {

constexpr int64_t kPollUs = 20'000;

// The scene without what is the connection's.
SimOptions PicturesOf(SimOptions scene) {
  scene.paced = true;
  scene.render = true;
  scene.start_utc_us.reset();
  std::erase_if(scene.faults, [](const Fault& fault) {
    return fault.kind != FaultKind::kFreeze && fault.kind != FaultKind::kSlow &&
           fault.kind != FaultKind::kResize;
  });
  return scene;
}

// Where the scan of a baseline JPEG begins; its end when there is none.
size_t ScanOf(std::span<const uint8_t> jpeg) {
  for (size_t i = 0; i + 3 < jpeg.size(); ++i) {
    if (jpeg[i] == 0xFF && jpeg[i + 1] == 0xDA) {
      return i + 2 + static_cast<size_t>(jpeg[i + 2] * 256 + jpeg[i + 3]);
    }
  }
  return jpeg.size();
}

// Whether a unit holds parameters and no part of a picture. `header` is its first byte.
bool HoldsParameters(StreamCodec codec, uint8_t header) {
  if (codec == StreamCodec::kH264) return (header & 31) > 5;
  return ((header >> 1) & 63) >= 32;
}

}  // namespace

void Spoil(StreamCodec codec, std::span<uint8_t> picture, uint64_t seed) {
  constexpr size_t kStartCode = 3;
  constexpr size_t kKept = 3;  // the unit's header, and that a new picture begins
  uint64_t state = seed * 2 + 1;
  const bool jpeg = codec == StreamCodec::kMjpeg;
  bool spared = !jpeg;  // until the first unit
  for (size_t i = jpeg ? ScanOf(picture) : 0; i < picture.size(); ++i) {
    const bool unit = !jpeg && i + kStartCode < picture.size() && picture[i] == 0 &&
                      picture[i + 1] == 0 && picture[i + 2] == 1;
    if (unit) {
      spared = HoldsParameters(codec, picture[i + kStartCode]);
      i += kStartCode + kKept - 1;
      continue;
    }
    if (spared || (jpeg && i + 2 >= picture.size())) continue;  // JPEG: the end marker
    state = state * 6364136223846793005U + 1442695040888963407U;
    picture[i] = static_cast<uint8_t>(2 + (state >> 57) % 125);
  }
}

SceneStream::SceneStream(const SceneStreamOptions& options, StreamOutlet& outlet)
    : options_(options),
      outlet_(outlet),
      camera_(std::make_shared<SimCamera>(PicturesOf(options.scene))),
      birth_(camera_->BirthBy(*options.clock)) {}

int64_t SceneStream::LifeUs() const {
  return std::max<int64_t>(options_.clock->NowMonotonicUs() - birth_.monotonic_us, 0);
}

const Fault* SceneStream::Find(FaultKind kind, int64_t life_us) const {
  for (const Fault& fault : options_.scene.faults) {
    if (fault.kind == kind && fault.Covers(life_us)) return &fault;
  }
  return nullptr;
}

Admission SceneStream::AdmissionAt(int64_t life_us) const {
  if (Find(FaultKind::kCut, life_us) != nullptr || Over()) return Admission::kCut;
  return Find(FaultKind::kRefuse, life_us) != nullptr ? Admission::kRefuse : Admission::kOpen;
}

bool SceneStream::Over() const {
  return options_.scene.duration_us > 0 && LifeUs() >= options_.scene.duration_us;
}

absl::Status SceneStream::Run() {
  absl::Status status;
  while (status.ok() && !stop_.load(std::memory_order_relaxed) && !Over()) {
    const Admission admission = AdmissionAt(LifeUs());
    outlet_.Admit(admission);
    if (admission == Admission::kOpen && outlet_.Watched()) {
      status = Watch();
    } else {
      Sleep();
    }
  }
  outlet_.Admit(Admission::kCut);
  return status;
}

void SceneStream::Sleep() const {
  if (options_.sleep) return options_.sleep(kPollUs);
  std::this_thread::sleep_for(std::chrono::microseconds(kPollUs));
}

// While somebody does.
absl::Status SceneStream::Watch() {
  FrameLedger ledger;  // nobody's
  SourceOptions source;
  source.camera = std::make_shared<const CameraInfo>(CameraInfo{.id = "served", .source = "sim"});
  bool done = false;
  SimConnection connection;
  connection.clock = options_.clock;
  connection.camera = camera_;
  connection.sleep = options_.sleep;
  connection.give_up = [&] {
    done = stop_.load(std::memory_order_relaxed) || !outlet_.Watched() ||
           AdmissionAt(LifeUs()) != Admission::kOpen;
    return done;
  };
  const absl::StatusOr<std::unique_ptr<SimSource>> pictures =
      SimSource::Create(source, ledger, connection);
  if (!pictures.ok()) return absl::OkStatus();  // its time was over meanwhile
  absl::Status status;
  while (status.ok() && !connection.give_up()) {
    const absl::StatusOr<std::optional<Frame>> frame = (*pictures)->Next();
    if (!frame.ok() || !*frame) break;  // given up, or the end
    status = Send(**frame);
  }
  encoder_ = nullptr;
  frozen_.clear();
  return status;
}

absl::Status SceneStream::Send(const Frame& frame) {
  const int64_t life_us = frame.meta.time.capture_utc_us - birth_.utc_us;
  if (Find(FaultKind::kStall, life_us) != nullptr) return absl::OkStatus();
  const bool frozen = Find(FaultKind::kFreeze, life_us) != nullptr;
  const ImageView& image = frame.image;
  CodedPicture coded{.bytes = frozen_,
                     .width = image.width,
                     .height = image.height,
                     .pts_us = life_us,
                     .key = true};
  if (frozen && !frozen_.empty()) {
    outlet_.Send(coded);
    return absl::OkStatus();
  }
  // Also anew before and after a frozen picture, so that both begin with a key frame.
  const bool was_frozen = !frozen_.empty();
  if (encoder_ == nullptr || frozen || was_frozen || image.width != encoder_width_ ||
      image.height != encoder_height_) {
    const double fps = camera_->options().fps;
    const double key_interval = static_cast<double>(options_.key_interval_us) * 1e-6 * fps;
    encoder_ = nullptr;
    SL_ASSIGN_OR_RETURN(
        encoder_,
        StreamEncoder::Create({.codec = options_.codec,
                               .width = encoder_width_ = image.width,
                               .height = encoder_height_ = image.height,
                               .fps = fps,
                               .key_interval = static_cast<int>(std::clamp(key_interval, 1.0, 1e6)),
                               .quality = options_.quality}));
    frozen_.clear();
  }
  SL_ASSIGN_OR_RETURN(const StreamEncoder::Packet packet, encoder_->Encode(image, life_us));
  if (frozen) frozen_.assign(packet.bytes.begin(), packet.bytes.end());
  coded.bytes = packet.bytes;
  coded.key = packet.key;
  if (Find(FaultKind::kGarbage, life_us) != nullptr) {
    garbage_.assign(packet.bytes.begin(), packet.bytes.end());
    Spoil(options_.codec, garbage_, static_cast<uint64_t>(life_us));
    coded.bytes = garbage_;
  }
  outlet_.Send(coded);
  return absl::OkStatus();
}

}  // namespace sightline::sim
