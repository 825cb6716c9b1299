// The keys of a camera: where its frames come from and what is looked for in them.
#include <utility>

#include "pipeline/config/binding.h"
#include "pipeline/config/sections.h"

namespace sightline::config {
namespace {

constexpr double kYear10kUs = 253402300800e6;

// The order of choices is the order of the enums' values.
constexpr std::string_view kCoordinates[] = {"fraction", "pixels"};
constexpr std::string_view kAnchors[] = {"bottom_center", "center",   "top_center", "bottom_left",
                                         "bottom_right",  "top_left", "top_right"};
constexpr std::string_view kTrackers[] = {"bytetrack", "none"};
constexpr std::string_view kTransports[] = {"tcp", "udp"};

using enum FieldType;

// --- zones and lines -------------------------------------------------------------------------

constexpr std::string_view kAnchorSays =
    "The point of an object's box that is looked at; `bottom_center` is where it stands.";
constexpr std::string_view kClassesSay = "Only objects of these classes, by the model's labels.";
constexpr std::string_view kMarginUnset = "5 % of the object's height";

constexpr Field kZoneFields[] = {
    Key<&ZoneConfig::name>("name", kLabel)
        .Says("Name in events and counts; unique among the camera's zones and lines.")
        .Required()
        .AffectsResults()
        .Example("shop floor"),
    Key<&ZoneConfig::polygon>("polygon", kPoints)
        .Says("Corners in order, in the camera's `coordinates`; edges must not cross, and the last "
              "corner is joined to the first.")
        .Required()
        .AffectsResults()
        .Items(3, 1000)
        .Example("[[0.1, 0.2], [0.9, 0.2], [0.9, 0.9]]"),
    Key<&ZoneConfig::anchor>("anchor", kChoice).Says(kAnchorSays).AffectsResults().OneOf(kAnchors),
    Key<&ZoneConfig::classes>("classes", kTextList)
        .Says(kClassesSay)
        .AffectsResults()
        .Items(1, 1000)
        .Unset("all classes")
        .Example("[person]"),
    Key<&ZoneConfig::margin>("margin", kNumber)
        .Says("Hysteresis in space: an object has left once its anchor is farther outside than "
              "this, in pixels or as a fraction of the picture's height.")
        .AffectsResults()
        .Range(0, 32768)
        .Unset(kMarginUnset)
        .Example("0.02"),
    Key<&ZoneConfig::enter_frames>("enter_frames", kInteger)
        .Says("Hysteresis in time: an object has entered after this many processed frames in a row "
              "inside.")
        .AffectsResults()
        .Range(1, 10000),
    Key<&ZoneConfig::exit_frames>("exit_frames", kInteger)
        .Says("An object has left after this many processed frames in a row outside.")
        .AffectsResults()
        .Range(1, 10000),
};
constexpr Section kZone = {"cameras[].zones[]",
                           "Areas: who enters and leaves, and how many are inside.",
                           kZoneFields,
                           {},
                           &Bind<&ZoneConfig::at>::Locate};

constexpr Field kDirectionFields[] = {
    Key<&LineConfig::forward>("forward", kLabel)
        .Says("Name of crossing from the left to the right of someone who looks from `from` to "
              "`to`.")
        .AffectsResults(),
    Key<&LineConfig::backward>("backward", kLabel)
        .Says("Name of crossing from the right to the left.")
        .AffectsResults(),
};
constexpr Section kDirections = {"cameras[].lines[].directions",
                                 "Names of the two ways across a line.", kDirectionFields};

constexpr Field kLineFields[] = {
    Key<&LineConfig::name>("name", kLabel)
        .Says("Name in events and counts; unique among the camera's zones and lines.")
        .Required()
        .AffectsResults()
        .Example("door"),
    Key<&LineConfig::from>("from", kPoint)
        .Says("First end, in the camera's `coordinates`.")
        .Required()
        .AffectsResults()
        .Example("[0.2, 0.5]"),
    Key<&LineConfig::to>("to", kPoint)
        .Says("Second end.")
        .Required()
        .AffectsResults()
        .Example("[0.8, 0.5]"),
    Map("directions", kDirections).Says("Names of the two ways across."),
    Key<&LineConfig::anchor>("anchor", kChoice).Says(kAnchorSays).AffectsResults().OneOf(kAnchors),
    Key<&LineConfig::classes>("classes", kTextList)
        .Says(kClassesSay)
        .AffectsResults()
        .Items(1, 1000)
        .Unset("all classes")
        .Example("[person]"),
    Key<&LineConfig::margin>("margin", kNumber)
        .Says("Hysteresis: a crossing counts once the anchor is farther beyond the line than this, "
              "in pixels or as a fraction of the picture's height.")
        .AffectsResults()
        .Range(0, 32768)
        .Unset(kMarginUnset)
        .Example("0.02"),
};
constexpr Section kLine = {"cameras[].lines[]",
                           "Tripwires: crossings, counted by direction.",
                           kLineFields,
                           {},
                           &Bind<&LineConfig::at>::Locate};

// --- selection, tracker ----------------------------------------------------------------------

constexpr Field kMotionFields[] = {
    Key<&MotionTrigger::changed_area>("changed_area", kNumber)
        .Says("Share of the picture that must have changed for a frame to be processed.")
        .AffectsResults()
        .Above(0, 1),
    Key<&MotionTrigger::hold_us>("hold", kDuration)
        .Says("How long frames are still processed after the last change.")
        .AffectsResults()
        .Range(0, kDayUs),
};
constexpr Section kMotion = {
    "cameras[].select.motion",
    "Only frames in which something moves; `motion: {}` takes the defaults.", kMotionFields};

constexpr Field kSelectFields[] = {
    Key<&CameraConfig::selection, &FrameSelection::every_nth>("every_nth", kInteger)
        .Says("Process frames 0, n, 2n, ...; where the codec allows, the others are not even "
              "decoded.")
        .AffectsResults()
        .Range(1, 1000000),
    Key<&CameraConfig::selection, &FrameSelection::target_fps>("target_fps", kNumber)
        .Says("Process at most this many frames a second of stream time; 0 is all.")
        .AffectsResults()
        .Range(0, 1000),
    Map<&CameraConfig::motion>("motion", kMotion)
        .Says("Process only while something moves.")
        .Unset("every frame"),
};
constexpr Section kSelect = {"cameras[].select",
                             "Which frames are worth processing; a frame is processed when every "
                             "condition keeps it. The others are counted as skipped, by reason.",
                             kSelectFields};

constexpr Field kTrackerFields[] = {
    Key<&TrackerConfig::kind>("type", kChoice)
        .Says("The tracker; with `none` there are detections but no tracks and no events.")
        .AffectsResults()
        .OneOf(kTrackers),
    Key<&TrackerConfig::track_thresh>("track_thresh", kNumber)
        .Says("Detections with at least this confidence are matched first.")
        .AffectsResults()
        .Range(0, 1),
    Key<&TrackerConfig::low_thresh>("low_thresh", kNumber)
        .Says("Detections between this confidence and `track_thresh` are matched second, to keep "
              "tracks alive through occlusion; below it they are ignored.")
        .AffectsResults()
        .Range(0, 1),
    Key<&TrackerConfig::new_track_thresh>("new_track_thresh", kNumber)
        .Says("Confidence that starts a track.")
        .AffectsResults()
        .Range(0, 1)
        .Unset("`track_thresh` + 0.1")
        .Example("0.6"),
    Key<&TrackerConfig::match_thresh>("match_thresh", kNumber)
        .Says("Largest cost (1 - IoU x confidence) of a match in the first round.")
        .AffectsResults()
        .Above(0, 1),
    Key<&TrackerConfig::track_buffer>("track_buffer", kInteger)
        .Says("How long a track lives unseen, in frames of a 30 fps stream; at other rates it is "
              "the same time.")
        .AffectsResults()
        .Range(1, 100000),
    Key<&TrackerConfig::max_lost_us>("max_lost", kDuration)
        .Says("The same as a duration; wins over `track_buffer`.")
        .AffectsResults()
        .Above(0, kDayUs)
        .Unset("`track_buffer`")
        .Example("1s"),
    Key<&TrackerConfig::reference_quirks>("reference_quirks", kBool)
        .Says("Do exactly what the paper's code does (boxes with inclusive pixels, strict "
              "comparisons, time counted in frames); for comparing with published results.")
        .AffectsResults(),
};
}  // namespace

constinit const Section kTracker = {
    "tracker", "ByteTrack (Zhang et al., ECCV 2022), under the names of the paper's code.",
    kTrackerFields};

namespace {

// --- live cameras ----------------------------------------------------------------------------

constexpr Field kTlsFields[] = {
    Key<&LiveConfig::verify_tls>("verify", kBool)
        .Says(
            "Refuse a camera whose certificate nobody trusted vouches for. Without it, whoever is "
            "in between can read and change the stream."),
    Key<&LiveConfig::ca_file>("ca", kPath)
        .Says("Certificates (PEM) of who may vouch for the camera.")
        .Unset("those that the system trusts")
        .Example("site-ca.pem"),
    Key<&LiveConfig::certificate_file>("certificate", kPath)
        .Says("What we show to a camera that asks who we are (PEM).")
        .Unset("nothing is shown")
        .Needs("key")
        .Example("client.pem"),
    Key<&LiveConfig::key_file>("key", kPath)
        .Says("The certificate's private key (PEM).")
        .Unset("no key")
        .Needs("certificate")
        .Example("client.key"),
};
constexpr Section kTls = {"cameras[].live.tls", "Of rtsps://, rtmps:// and https:// addresses.",
                          kTlsFields};

constexpr Field kLiveFields[] = {
    Key<&LiveConfig::transport>("transport", kChoice)
        .Says("How RTSP brings its pictures: `tcp` loses nothing on the way and passes firewalls; "
              "with `udp` late packets are lost instead of waited for.")
        .OneOf(kTransports),
    Map("tls", kTls).Says("Encryption and who is trusted."),
    Key<&LiveConfig::allow_basic>("allow_basic_without_tls", kBool)
        .Says("Send the password in clear to a camera that knows nothing better."),
    Key<&LiveConfig::hardware>("hardware", kText)
        .Says("What decodes: `none` for the processor, `auto` for what the machine has, or one by "
              "its name as `sightline doctor` lists them; where it cannot be had, the processor.")
        .Example("auto"),
    Key<&LiveConfig::connect_timeout_us>("connect_timeout", kDuration)
        .Says("How long an attempt to connect may bring nothing.")
        .Above(0, 3600 * kSecondUs),
    Key<&LiveConfig::stall_after_us>("stall_after", kDuration)
        .Says("A camera that has sent nothing for so long is stalled and connected anew.")
        .Above(0, 3600 * kSecondUs),
    Key<&LiveConfig::frozen_after_us>("frozen_after", kDuration)
        .Says("A picture that has been the same to the bit for so long is frozen; `0s` never asks.")
        .Range(0, kDayUs),
    Key<&LiveConfig::max_backoff_us>("max_backoff", kDuration)
        .Says(
            "Longest wait between two attempts; the first is a quarter of a second, doubled every "
            "time.")
        .Range(0.25 * kSecondUs, kDayUs),
};
constexpr Section kLive = {"cameras[].live",
                           "How a live camera is reached and watched over; without meaning for "
                           "recordings.",
                           kLiveFields};

// --- cameras ---------------------------------------------------------------------------------

constexpr Field kCameraFields[] = {
    Key<&CameraConfig::id>("id", kId)
        .Says("Name in every row, file and message; unique.")
        .Required()
        .Example("door"),
    Key<&CameraConfig::source>("source", kSource)
        .Says("File, folder, glob (in quotes) or URL. Relative paths start at the configuration "
              "file. `${env:NAME}` and `${file:PATH}` are replaced by a variable or a file's "
              "content and never printed.")
        .Required()
        .LocatedBy(&Bind<&CameraConfig::source_at>::Locate)
        .Example("door.mp4"),
    Key<&CameraConfig::model>("model", kText)
        .Says(
            "A name under `models`, a built-in detector (`people`, `motion`, `faces`, `truth`), a "
            "package added by `sightline models add`, or an ONNX file.")
        .Required()
        .LocatedBy(&Bind<&CameraConfig::model_at>::Locate)
        .Example("people"),
    Key<&CameraConfig::start_utc_us>("start_time", kTime)
        .Says("When the recording's first frame was taken (RFC 3339).")
        .AffectsResults()
        .Range(0, kYear10kUs)
        .Unset("what the recording says")
        .Example("2026-01-31T12:00:00Z"),
    Map("select", kSelect).Says("Which frames are processed."),
    Key<&CameraConfig::coordinates>("coordinates", kChoice)
        .Says("What the numbers of `zones` and `lines` are: fractions of width and height, or "
              "pixels of the source picture.")
        .AffectsResults()
        .OneOf(kCoordinates)
        .SetBy(&Bind<&CameraConfig::coordinates>::SetFromSecond)
        .GetBy(&Bind<&CameraConfig::coordinates>::GetFromSecond)
        .Unset("must be said with `zones` or `lines`")
        .Example("fraction"),
    Maps<&CameraConfig::zones>("zones", kZone)
        .Says("Areas to watch.")
        .Items(1, 100)
        .Needs("coordinates"),
    Maps<&CameraConfig::lines>("lines", kLine)
        .Says("Tripwires.")
        .Items(1, 100)
        .Needs("coordinates"),
    Map<&CameraConfig::tracker>("tracker", kTracker)
        .Says("Keys of `tracker` that differ for this camera.")
        .Unset("the file's `tracker`"),
    Map<&CameraConfig::live>("live", kLive).Says("How a live camera is reached and watched over."),
    Key<&CameraConfig::decode_threads>("decode_threads", kInteger)
        .Says("Threads of the decoder; does not change results.")
        .Range(1, 64),
    Key<&CameraConfig::priority>("priority", kInteger)
        .Says("Whose frames the model takes first, 1 being the most urgent. While it has frames of "
              "more urgent cameras, others wait (recordings) or are dropped (live ones).")
        .Range(1, 16),
};
}  // namespace

constinit const Section kCamera = {"cameras[]",
                                   "Where frames come from, and what is looked for in them.",
                                   kCameraFields,
                                   {},
                                   &Bind<&CameraConfig::at>::Locate};

namespace {

struct Defaults {
  CameraConfig camera;
  ZoneConfig zone;
  LineConfig line;
  MotionTrigger motion;
  TrackerConfig tracker;
};

}  // namespace

const void* CameraDefaults(const Section& section) {
  static const Defaults defaults;
  const std::pair<const Section*, const void*> targets[] = {
      {&kCamera, &defaults.camera},   {&kSelect, &defaults.camera},
      {&kMotion, &defaults.motion},   {&kZone, &defaults.zone},
      {&kLine, &defaults.line},       {&kDirections, &defaults.line},
      {&kTracker, &defaults.tracker}, {&kLive, &defaults.camera.live},
      {&kTls, &defaults.camera.live}};
  for (const auto& [known, target] : targets) {
    if (known == &section) return target;
  }
  return nullptr;
}

}  // namespace sightline::config
