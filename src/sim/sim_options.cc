#include "sim/sim_options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "base/ascii_text.h"
#include "base/nearest_word.h"
#include "base/time.h"
#include "sim/chance.h"

namespace sightline::sim {
namespace {

constexpr std::array<std::string_view, 9> kFaultNames = {
    "cut", "refuse", "stall", "freeze", "garbage", "slow", "resize", "clockstep", "wrap"};
constexpr int64_t kUsualFaultUs = 5'000'000;
constexpr size_t kMostFaults = 10'000;  // chosen: a day of 500 cuts many times over
constexpr int64_t kForGood = std::numeric_limits<int64_t>::max();

std::string DidYouMean(std::string_view word, std::span<const std::string_view> known) {
  const std::string near = NearestWord(word, known);
  return near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near);
}

template <typename Number>
bool ReadNumber(std::string_view text, Number least, Number most, Number* value) {
  const char* const end = text.data() + text.size();
  Number read{};
  const auto [stop, error] = std::from_chars(text.data(), end, read);
  if (error != std::errc() || stop != end || !(read >= least && read <= most)) return false;
  *value = read;
  return true;
}

template <typename Number>
absl::Status Take(std::string_view key, std::string_view text, Number least, Number most,
                  Number* value) {
  if (ReadNumber(text, least, most, value)) return absl::OkStatus();
  return InvalidArgument("{}={}: a number from {} to {} is wanted", key, text, least, most);
}

absl::Status TakeSize(std::string_view key, std::string_view text, int* width, int* height) {
  const size_t cross = text.find('x');
  if (cross != std::string_view::npos && ReadNumber(text.substr(0, cross), 64, 4096, width) &&
      ReadNumber(text.substr(cross + 1), 48, 4096, height)) {
    return absl::OkStatus();
  }
  return InvalidArgument("{}={}: WIDTHxHEIGHT is wanted, from 64x48 to 4096x4096", key, text);
}

absl::Status TakeWord(std::string_view key, std::string_view text, std::string_view yes,
                      std::string_view no, bool* value) {
  if (text != yes && text != no) {
    return InvalidArgument("{}={}: \"{}\" or \"{}\" is wanted", key, text, yes, no);
  }
  *value = text == yes;
  return absl::OkStatus();
}

absl::Status TakeDuration(std::string_view key, std::string_view text, int64_t* value) {
  const absl::StatusOr<int64_t> read = ParseDurationUs(text);
  if (!read.ok() || *read > kLongestDurationUs) {
    return InvalidArgument("{}={}: a time of at most 366 days is wanted, such as 500ms, 10s or 5m",
                           key, text);
  }
  *value = *read;
  return absl::OkStatus();
}

bool NeedsValue(FaultKind kind) {
  return kind == FaultKind::kSlow || kind == FaultKind::kResize || kind == FaultKind::kClockStep;
}

absl::Status TakeFaultValue(std::string_view name, std::string_view value, Fault* fault) {
  if (!NeedsValue(fault->kind)) {
    return InvalidArgument("{} takes no value, but has \"{}\"", name, value);
  }
  if (fault->kind == FaultKind::kResize) {
    return TakeSize(name, value, &fault->width, &fault->height);
  }
  if (fault->kind == FaultKind::kSlow) {
    if (value.ends_with('x')) value.remove_suffix(1);
    return Take(name, value, 0.001, 1.0, &fault->factor);
  }
  const bool back = value.starts_with('-');
  if (back || value.starts_with('+')) value.remove_prefix(1);
  SL_RETURN_IF_ERROR(TakeDuration(name, value, &fault->step_us));
  if (back) fault->step_us = -fault->step_us;
  return absl::OkStatus();
}

// KIND@AT[+FOR][:VALUE]
absl::StatusOr<Fault> ParseFault(std::string_view text) {
  const size_t at = text.find('@');
  const std::string_view name = text.substr(0, at);
  const auto* const found = std::find(kFaultNames.begin(), kFaultNames.end(), name);
  if (found == kFaultNames.end()) {
    return InvalidArgument(
        "no fault \"{}\"{} There are cut, refuse, stall, freeze, garbage, slow, "
        "resize, clockstep and wrap",
        name, name.empty() ? "." : DidYouMean(name, kFaultNames) + ".");
  }
  if (at == std::string_view::npos) {
    return InvalidArgument("when {} happens is missing: {}@10s", name, name);
  }
  Fault fault;
  fault.kind = static_cast<FaultKind>(found - kFaultNames.begin());
  std::string_view when = text.substr(at + 1);
  std::string_view value;
  const size_t colon = when.find(':');
  if (colon != std::string_view::npos) {
    value = when.substr(colon + 1);
    when = when.substr(0, colon);
  }
  const size_t plus = when.find('+');
  SL_RETURN_IF_ERROR(TakeDuration(name, when.substr(0, plus), &fault.at_us));
  const bool lasting = fault.kind == FaultKind::kClockStep || fault.kind == FaultKind::kWrap;
  fault.for_us =
      lasting || fault.kind == FaultKind::kResize ? kForGood - fault.at_us : kUsualFaultUs;
  if (plus != std::string_view::npos) {
    if (lasting) return InvalidArgument("{} happens at once and has no length: {}@10s", name, name);
    SL_RETURN_IF_ERROR(TakeDuration(name, when.substr(plus + 1), &fault.for_us));
  }
  if (colon != std::string_view::npos) {
    SL_RETURN_IF_ERROR(TakeFaultValue(name, value, &fault));
  } else if (NeedsValue(fault.kind)) {
    return InvalidArgument(
        "{} needs a value: slow@10s+9s:0.25x, resize@10s:1280x720, "
        "clockstep@10s:+1h",
        name);
  }
  return fault;
}

absl::Status TakeFaults(std::string_view text, std::vector<Fault>* faults) {
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view one = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    auto fault = ParseFault(one);
    if (!fault.ok()) {
      return InvalidArgument("faults: \"{}\": {}", one, MessageOf(fault.status()));
    }
    if (faults->size() == kMostFaults) {
      return InvalidArgument("faults: more than {} of them", kMostFaults);
    }
    faults->push_back(*fault);
  }
  std::stable_sort(faults->begin(), faults->end(),
                   [](const Fault& a, const Fault& b) { return a.at_us < b.at_us; });
  return absl::OkStatus();
}

absl::Status TakeStart(std::string_view text, std::optional<int64_t>* start) {
  const absl::StatusOr<int64_t> read = ParseUtc(text);
  constexpr int64_t kLeast = 0;                       // 1970
  constexpr int64_t kMost = 4'102'444'800'000'000LL;  // 2100
  if (!read.ok() || *read < kLeast || *read > kMost) {
    return InvalidArgument(
        "start={}: a time from 1970 to 2099 is wanted, such as 2026-01-31T12:00:00Z", text);
  }
  *start = *read;
  return absl::OkStatus();
}

constexpr std::array<std::string_view, 13> kKeys = {
    "people", "bicycles", "cars",     "seed",  "fps",  "size",  "render",
    "night",  "shake",    "duration", "start", "pace", "faults"};

absl::Status TakeKey(std::string_view key, std::string_view value, SimOptions* options) {
  if (key == "people") return Take(key, value, 0, 500, &options->people);
  if (key == "bicycles") return Take(key, value, 0, 50, &options->bicycles);
  if (key == "cars") return Take(key, value, 0, 10, &options->cars);
  if (key == "seed") {
    return Take<uint64_t>(key, value, 0, std::numeric_limits<uint64_t>::max(), &options->seed);
  }
  if (key == "fps") return Take(key, value, 0.1, 240.0, &options->fps);
  if (key == "size") return TakeSize(key, value, &options->width, &options->height);
  if (key == "render") return TakeWord(key, value, "yes", "none", &options->render);
  if (key == "night") return Take(key, value, 0.0, 1.0, &options->night);
  if (key == "shake") return Take(key, value, 0.0, 50.0, &options->shake_px);
  if (key == "duration") {
    SL_RETURN_IF_ERROR(TakeDuration(key, value, &options->duration_us));
    if (options->duration_us > 0) return absl::OkStatus();
    return InvalidArgument("duration={}: it must be longer than nothing", value);
  }
  if (key == "start") return TakeStart(value, &options->start_utc_us);
  if (key == "pace") return TakeWord(key, value, "clock", "none", &options->paced);
  if (key == "faults") return TakeFaults(value, &options->faults);
  return InvalidArgument("no key \"{}\"{} There are {}", key,
                         key.empty() ? "." : DidYouMean(key, kKeys) + ".",
                         fmt::format("{}", fmt::join(kKeys, ", ")));
}

absl::StatusOr<SimOptions> Parse(std::string_view url) {
  constexpr std::string_view kScheme = "sim://";
  if (!url.starts_with(kScheme)) {
    return InvalidArgument("it does not start with sim://; write it like sim://street?people=20");
  }
  url.remove_prefix(kScheme.size());
  const size_t question = url.find('?');
  std::string_view scene = url.substr(0, question);
  if (scene.ends_with('/')) scene.remove_suffix(1);
  if (scene != "street") {
    return InvalidArgument("no scene \"{}\"; there is one, sim://street", scene);
  }
  std::string_view query =
      question == std::string_view::npos ? std::string_view() : url.substr(question + 1);
  SimOptions options;
  std::vector<std::string> seen;
  std::string_view name;
  std::string_view escaped;
  while (NextPair(&query, &name, &escaped)) {
    const std::string key(name);
    if (std::find(seen.begin(), seen.end(), key) != seen.end()) {
      return InvalidArgument("{} is given twice", key);
    }
    seen.push_back(key);
    std::string value;
    if (!PercentDecode(escaped, &value)) {
      return InvalidArgument("a % must be followed by two hexadecimal digits (%25 is %)");
    }
    SL_RETURN_IF_ERROR(TakeKey(key, value, &options));
  }
  constexpr int64_t kUsualRecordingUs = 60'000'000;
  if (!options.paced && options.duration_us == 0) options.duration_us = kUsualRecordingUs;
  return options;
}

}  // namespace

int64_t SimOptions::FrameTimeUs(int64_t k) const {
  return Round(static_cast<double>(k) * (1e6 / fps));
}

int64_t SimOptions::FrameAtOrAfter(int64_t life_us) const {
  int64_t k = Floor(static_cast<double>(life_us) / (1e6 / fps));
  if (k < 0) k = 0;
  while (k > 0 && FrameTimeUs(k - 1) >= life_us) --k;
  while (FrameTimeUs(k) < life_us) ++k;
  return k;
}

absl::StatusOr<SimOptions> ParseSimUrl(std::string_view url) {
  auto options = Parse(url);
  if (options.ok()) return options;
  // A mistyped URL may be long and holds no secrets of ours; still only its beginning is repeated.
  constexpr size_t kShown = 80;
  return InvalidArgument("{}{}: {}", url.substr(0, kShown), url.size() > kShown ? "..." : "",
                         MessageOf(options.status()));
}

std::string CanonicalText(const SimOptions& o) {
  std::string text = fmt::format(
      "people={}&bicycles={}&cars={}&seed={}&fps={}&size={}x{}&render={}&night={}&shake={}&"
      "duration={}us",
      o.people, o.bicycles, o.cars, o.seed, o.fps, o.width, o.height, o.render ? "yes" : "none",
      o.night, o.shake_px, o.duration_us);
  if (o.start_utc_us) text += fmt::format("&start={}", FormatUtc(*o.start_utc_us));
  for (const Fault& fault : o.faults) {
    text += fmt::format("&{}@{}us+{}us:{}:{}x{}:{}us", kFaultNames[static_cast<size_t>(fault.kind)],
                        fault.at_us, fault.for_us, fault.factor, fault.width, fault.height,
                        fault.step_us);
  }
  return text;
}

Hash128 HashOf(const SimOptions& options) { return HashString(CanonicalText(options)); }

}  // namespace sightline::sim
