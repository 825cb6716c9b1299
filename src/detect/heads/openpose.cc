// People by their joints: heat maps [B, 19, rows, columns] of 18 joints and the background, and
// part affinity fields [B, 38, rows, columns], two numbers for each of 19 limbs (OpenPose, Cao et
// al. 2017, arXiv 1611.08050; open_pose/body.py of controlnet_aux, whose rules and numbers these
// are).
//
// Maps are enlarged to the input (Lanczos over 8, as OpenCV's). A joint is a place where the
// blurred map is not below its neighbours; two joints are a limb where the field between them
// points along it; limbs that share a joint are one person. A result is a person: the box about the
// joints, half of OpenPose's score a part (which reaches 2) as confidence, and 18 keypoints; those
// that were not found are 0, 0 with confidence 0.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "detect/family.h"
#include "detect/neural_detector.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

constexpr int kJoints = 18;
constexpr int kHeatChannels = 19;
constexpr int kFieldChannels = 38;
constexpr int kLimbs = 19;
constexpr int kNewPeopleBefore = 17;  // the last two limbs, ear to shoulder, begin no person
constexpr float kLeastPeak = 0.1f;
constexpr double kLeastField = 0.05;
constexpr int kSamples = 10;      // along a limb
constexpr int kLeastSamples = 9;  // of them must be above kLeastField
constexpr double kFewestParts = 4;
constexpr double kLeastScore = 0.4;  // a part
// Of one joint, the strongest; chosen: the reference has no limit, and its time grows by the square.
constexpr size_t kMostPeaks = 64;
constexpr int64_t kMostCells = 1 << 18;  // of a map; chosen

struct Limb {
  int from;  // joints
  int to;
  int field;  // channel of the field's x; y follows
};
constexpr std::array<Limb, kLimbs> kLimbTable = {{{1, 2, 12},
                                                  {1, 5, 20},
                                                  {2, 3, 14},
                                                  {3, 4, 16},
                                                  {5, 6, 22},
                                                  {6, 7, 24},
                                                  {1, 8, 0},
                                                  {8, 9, 2},
                                                  {9, 10, 4},
                                                  {1, 11, 6},
                                                  {11, 12, 8},
                                                  {12, 13, 10},
                                                  {1, 0, 28},
                                                  {0, 14, 30},
                                                  {14, 16, 34},
                                                  {0, 15, 32},
                                                  {15, 17, 36},
                                                  {2, 16, 18},
                                                  {5, 17, 26}}};

// For each of `to` places the 8 of `from` that it is made of, and their weights: OpenCV's
// INTER_LANCZOS4. Beyond the edge: the edge.
struct Lanczos {
  Lanczos(int from, int to) : first(to), weights(to), last(from - 1) {
    for (int i = 0; i < to; ++i) {
      const double at = (i + 0.5) * from / to - 0.5;
      const double whole = std::floor(at);
      first[i] = static_cast<int>(whole) - 3;
      double sum = 0;
      std::array<double, 8> w{};
      for (int k = 0; k < 8; ++k) {
        const double x = at - whole + 3 - k;
        const double pi_x = x * M_PI;
        w[k] = std::abs(x) < 1e-6 ? 1 : 4 * std::sin(pi_x) * std::sin(pi_x / 4) / (pi_x * pi_x);
        sum += w[k];
      }
      for (int k = 0; k < 8; ++k) weights[i][k] = static_cast<float>(w[k] / sum);
    }
  }
  int At(int i, int k) const { return std::clamp(first[i] + k, 0, last); }

  std::vector<int> first;
  std::vector<std::array<float, 8>> weights;
  int last;
};

// The way from a map's cells to the pixels of the input.
struct Enlarger {
  Enlarger(int columns, int rows, int width, int height)
      : columns(columns), width(width), height(height), x(columns, width), y(rows, height) {}

  // The whole map: across first, then down.
  void All(const float* map, int rows, std::vector<float>* across,
           std::vector<float>* large) const {
    across->resize(static_cast<size_t>(rows) * width);
    large->resize(static_cast<size_t>(height) * width);
    for (int row = 0; row < rows; ++row) {
      const float* const from = map + static_cast<size_t>(row) * columns;
      float* const to = across->data() + static_cast<size_t>(row) * width;
      for (int i = 0; i < width; ++i) {
        float sum = 0;
        for (int k = 0; k < 8; ++k) sum += x.weights[i][k] * from[x.At(i, k)];
        to[i] = sum;
      }
    }
    for (int j = 0; j < height; ++j) {
      float* const to = large->data() + static_cast<size_t>(j) * width;
      std::fill_n(to, width, 0.0f);
      for (int k = 0; k < 8; ++k) {
        const float weight = y.weights[j][k];
        const float* const from = across->data() + static_cast<size_t>(y.At(j, k)) * width;
        for (int i = 0; i < width; ++i) to[i] += weight * from[i];
      }
    }
  }

  double One(const float* map, int i, int j) const {
    const std::array<float, 8>&across_weights = x.weights[i], &down_weights = y.weights[j];
    std::array<int, 8> columns_of{};
    for (int k = 0; k < 8; ++k) columns_of[k] = x.At(i, k);
    double sum = 0;
    for (int r = 0; r < 8; ++r) {
      const float* const row = map + static_cast<size_t>(y.At(j, r)) * columns;
      double across = 0;
      for (int k = 0; k < 8; ++k) across += across_weights[k] * row[columns_of[k]];
      sum += down_weights[r] * across;
    }
    return sum;
  }

  int columns;
  int width;
  int height;
  Lanczos x;
  Lanczos y;
};

// A Gaussian of sigma 3; beyond the edge the map is mirrored, the edge itself repeated.
class Blur {
 public:
  Blur() {
    double sum = 0;
    for (int i = -kRadius; i <= kRadius; ++i) sum += std::exp(-0.5 * i * i / (kSigma * kSigma));
    for (int i = 0; i <= kRadius; ++i) {
      kernel_[i] = static_cast<float>(std::exp(-0.5 * i * i / (kSigma * kSigma)) / sum);
    }
  }

  void Run(const std::vector<float>& map, int width, int height, std::vector<float>* line,
           std::vector<float>* out) const {
    out->assign(map.size(), 0.0f);
    for (int y = 0; y < height; ++y) {
      float* const to = out->data() + static_cast<size_t>(y) * width;
      for (int k = -kRadius; k <= kRadius; ++k) {
        const float weight = kernel_[std::abs(k)];
        const float* const from = map.data() + static_cast<size_t>(Mirrored(y + k, height)) * width;
        for (int x = 0; x < width; ++x) to[x] += weight * from[x];
      }
    }
    line->resize(static_cast<size_t>(width) + 2 * kRadius);
    for (int y = 0; y < height; ++y) {
      float* const row = out->data() + static_cast<size_t>(y) * width;
      for (int x = -kRadius; x < width + kRadius; ++x)
        (*line)[x + kRadius] = row[Mirrored(x, width)];
      for (int x = 0; x < width; ++x) {
        float sum = 0;
        for (int k = 0; k <= 2 * kRadius; ++k) {
          sum += kernel_[std::abs(k - kRadius)] * (*line)[x + k];
        }
        row[x] = sum;
      }
    }
  }

 private:
  static constexpr int kRadius = 12;
  static constexpr double kSigma = 3;
  static int Mirrored(int i, int size) {
    while (i < 0 || i >= size) i = i < 0 ? -1 - i : 2 * size - 1 - i;
    return i;
  }
  std::array<float, kRadius + 1> kernel_{};
};

struct Peak {
  int x = 0;
  int y = 0;
  float score = 0;
};

std::vector<Peak> PeaksOf(const std::vector<float>& map, const std::vector<float>& blurred,
                          int width, int height) {
  std::vector<Peak> peaks;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const size_t at = static_cast<size_t>(y) * width + x;
      const float v = blurred[at];
      if (!(v > kLeastPeak)) continue;
      const float left = x > 0 ? blurred[at - 1] : 0;
      const float right = x + 1 < width ? blurred[at + 1] : 0;
      const float above = y > 0 ? blurred[at - width] : 0;
      const float below = y + 1 < height ? blurred[at + width] : 0;
      if (v >= left && v >= right && v >= above && v >= below) peaks.push_back({x, y, map[at]});
    }
  }
  if (peaks.size() > kMostPeaks) {
    std::vector<float> scores(peaks.size());
    std::ranges::transform(peaks, scores.begin(), &Peak::score);
    std::ranges::nth_element(scores, scores.begin() + (kMostPeaks - 1), std::greater());
    std::erase_if(peaks,
                  [least = scores[kMostPeaks - 1]](const Peak& p) { return p.score < least; });
    peaks.resize(std::min(peaks.size(), kMostPeaks));
  }
  return peaks;
}

struct Connection {
  int from = 0;  // peaks of the two joints
  int to = 0;
  double score = 0;
};

struct Person {
  std::array<int, kJoints> peaks;  // of each joint, -1: none
  double score = 0;
  double parts = 0;
};

struct Body {
  std::array<std::vector<Peak>, kJoints> peaks;
  const float* fields = nullptr;
  int64_t cells = 0;  // of a channel
  const Enlarger* enlarger = nullptr;

  std::vector<Connection> ConnectionsOf(const Limb& limb) const {
    const std::vector<Peak>&a = peaks[limb.from], &b = peaks[limb.to];
    const float* const field_x = fields + limb.field * cells;
    const float* const field_y = field_x + cells;
    std::vector<Connection> all;
    for (int i = 0; i < static_cast<int>(a.size()); ++i) {
      for (int j = 0; j < static_cast<int>(b.size()); ++j) {
        const double dx = b[j].x - a[i].x, dy = b[j].y - a[i].y;
        const double length = std::max(0.001, std::hypot(dx, dy));
        double sum = 0;
        int along = 0;
        // As soon as too few can be above it, the rest is not looked at: of many peaks, few pairs fit.
        for (int s = 0; s < kSamples && along + kSamples - s >= kLeastSamples; ++s) {
          const double share = s / (kSamples - 1.0);
          // To even, as Python rounds.
          const int x = static_cast<int>(std::nearbyint(a[i].x + dx * share));
          const int y = static_cast<int>(std::nearbyint(a[i].y + dy * share));
          const double dot = enlarger->One(field_x, x, y) * dx / length +
                             enlarger->One(field_y, x, y) * dy / length;
          sum += dot;
          along += dot > kLeastField;
        }
        const double score = sum / kSamples + std::min(0.5 * enlarger->height / length - 1, 0.0);
        if (along >= kLeastSamples && score > 0) all.push_back({i, j, score});
      }
    }
    std::ranges::stable_sort(all, std::greater(), &Connection::score);
    std::vector<bool> used_a(a.size()), used_b(b.size());
    std::erase_if(all, [&](const Connection& c) {
      if (used_a[c.from] || used_b[c.to]) return true;
      used_a[c.from] = used_b[c.to] = true;
      return false;
    });
    return all;
  }

  std::vector<Person> People() const {
    std::vector<Person> people;
    for (int k = 0; k < kLimbs; ++k) {
      const Limb& limb = kLimbTable[k];
      for (const Connection& c : ConnectionsOf(limb)) Join(limb, c, k < kNewPeopleBefore, &people);
    }
    std::erase_if(people, [](const Person& p) {
      return p.parts < kFewestParts || p.score / p.parts < kLeastScore;
    });
    return people;
  }

 private:
  void Join(const Limb& limb, const Connection& c, bool may_begin,
            std::vector<Person>* people) const {
    std::array<size_t, 2> owners{};
    size_t found = 0;
    for (size_t i = 0; i < people->size() && found < owners.size(); ++i) {
      const Person& p = (*people)[i];
      if (p.peaks[limb.from] == c.from || p.peaks[limb.to] == c.to) owners[found++] = i;
    }
    const double to_score = peaks[limb.to][c.to].score;
    const auto add = [&](Person& person) {
      person.peaks[limb.to] = c.to;
      person.parts += 1;
      person.score += to_score + c.score;
    };
    if (found == 0) {
      if (!may_begin) return;
      Person person;
      person.peaks.fill(-1);
      person.peaks[limb.from] = c.from;
      person.peaks[limb.to] = c.to;
      person.parts = 2;
      person.score = peaks[limb.from][c.from].score + to_score + c.score;
      people->push_back(person);
      return;
    }
    Person& first = (*people)[owners[0]];
    if (found == 1) {
      if (first.peaks[limb.to] != c.to) add(first);
      return;
    }
    const Person& second = (*people)[owners[1]];
    bool disjoint = true;
    for (int k = 0; k < kJoints; ++k) disjoint &= first.peaks[k] < 0 || second.peaks[k] < 0;
    if (!disjoint) return add(first);
    for (int k = 0; k < kJoints; ++k) first.peaks[k] = std::max(first.peaks[k], second.peaks[k]);
    first.parts += second.parts;
    first.score += second.score + c.score;
    people->erase(people->begin() + static_cast<std::ptrdiff_t>(owners[1]));
  }
};

class OpenposeHead : public WholePictureHead {
 public:
  OpenposeHead(size_t fields, size_t heat, const ModelSpec& spec)
      : fields_(fields),
        heat_(heat),
        min_confidence_(spec.confidence_threshold),
        most_(static_cast<size_t>(spec.nms.max_detections)),
        width_(spec.input.width),
        height_(spec.input.height) {}

  int classes() const override { return 1; }

  absl::Status Complete(const RawResult& raw, Detections* result) const override {
    std::array<int64_t, 4> wanted = {-1, kHeatChannels, -1, -1};
    if (heat_ < raw.outputs.size() && raw.outputs[heat_].shape.size() == 4) {
      wanted[2] = raw.outputs[heat_].shape[2];
      wanted[3] = raw.outputs[heat_].shape[3];
    }
    SL_ASSIGN_OR_RETURN(const float* const heat, EntryOf(raw, heat_, wanted));
    wanted[1] = kFieldChannels;
    SL_ASSIGN_OR_RETURN(const float* const fields, EntryOf(raw, fields_, wanted));
    const int64_t cells = wanted[2] * wanted[3];
    if (cells < 1 || wanted[2] > height_ || wanted[3] > width_ || cells > kMostCells) {
      return DataLoss("the model gave maps of {}x{} cells for an input of {}x{}", wanted[3],
                      wanted[2], width_, height_);
    }
    const auto finite = [](float v) { return std::isfinite(v) && std::abs(v) < 1e6f; };
    if (!std::all_of(heat, heat + kHeatChannels * cells, finite) ||
        !std::all_of(fields, fields + kFieldChannels * cells, finite)) {
      return DataLoss("the model gave maps with numbers that are NaN, infinite or far too large");
    }
    const Enlarger enlarger(static_cast<int>(wanted[3]), static_cast<int>(wanted[2]), width_,
                            height_);
    Body body;
    body.fields = fields;
    body.cells = cells;
    body.enlarger = &enlarger;
    const Blur blur;
    std::vector<float> across, large, line, blurred;
    for (int joint = 0; joint < kJoints; ++joint) {
      enlarger.All(heat + joint * cells, static_cast<int>(wanted[2]), &across, &large);
      // A blur makes nothing larger.
      if (!(*std::ranges::max_element(large) > kLeastPeak)) continue;
      blur.Run(large, width_, height_, &line, &blurred);
      body.peaks[joint] = PeaksOf(large, blurred, width_, height_);
    }
    Add(body, raw, result);
    return absl::OkStatus();
  }

 private:
  void Add(const Body& body, const RawResult& raw, Detections* result) const {
    result->keypoints_per_item = kJoints;
    for (const Person& person : body.People()) {
      const auto confidence = static_cast<float>(std::min(1.0, person.score / person.parts / 2));
      if (!(confidence > min_confidence_)) continue;
      const auto row = static_cast<int32_t>(result->keypoints.size() / kJoints);
      Box box = {1e9f, 1e9f, -1e9f, -1e9f};
      for (int k = 0; k < kJoints; ++k) {
        Keypoint& point = result->keypoints.emplace_back();
        point.confidence = 0;
        if (person.peaks[k] < 0) continue;
        const Peak& peak = body.peaks[k][person.peaks[k]];
        const Box at =
            raw.mapping.ToImage({static_cast<float>(peak.x), static_cast<float>(peak.y), 0, 0});
        point.at_px = {at.x1, at.y1};
        point.confidence = std::clamp(peak.score, 0.0f, 1.0f);
        box = {std::min(box.x1, at.x1), std::min(box.y1, at.y1), std::max(box.x2, at.x1),
               std::max(box.y2, at.y1)};
      }
      if (IsUsable(box)) result->items.push_back({box, confidence, 0, row});
    }
    ClipToPicture(raw.picture_width, raw.picture_height, &result->items);
    std::ranges::stable_sort(result->items, std::greater(), &Detection::confidence);
    result->items.resize(std::min(result->items.size(), most_));
  }

  const size_t fields_;  // outputs
  const size_t heat_;
  const float min_confidence_;
  const size_t most_;
  const int width_;  // of the input tensor
  const int height_;
};

bool IsMap(const std::vector<int64_t>& shape, int64_t channels) {
  return shape.size() == 4 && (shape[1] == channels || shape[1] == -1);
}

class Openpose : public ModelFamily {
 public:
  std::string_view name() const override { return "openpose"; }
  std::string_view outputs() const override {
    return "[batch, 38, rows, columns] and [batch, 19, rows, columns]";
  }

  // As body.py, whose network wants heights of about 368.
  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kBgr, 1 / 256.0f);
    spec.input.resize = ResizeMode::kLetterboxTopLeft;
    spec.input.interpolation = Interpolation::kArea;
    spec.input.mean = {128, 128, 128};
    spec.input.pad_value = {128, 128, 128};
    spec.confidence_threshold = static_cast<float>(kLeastScore / 2);
    spec.nms.kind = NmsSettings::Kind::kNone;
    return spec;
  }

  // Networks of several stages give a pair each; the last is the best.
  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    std::optional<size_t> fields, heat;
    for (size_t i = 0; i < seen.outputs.size(); ++i) {
      const std::vector<int64_t>& s = seen.outputs[i].info.shape;
      if (IsMap(s, kFieldChannels)) fields = i;
      if (IsMap(s, kHeatChannels)) heat = i;
    }
    if (!fields || !heat) return std::nullopt;
    const std::vector<int64_t>& a = seen.outputs[*fields].info.shape;
    const std::vector<int64_t>& b = seen.outputs[*heat].info.shape;
    const bool eighth = a[2] == seen.height / 8 && a[3] == seen.width / 8;
    const bool quarter = a[2] == seen.height / 4 && a[3] == seen.width / 4;
    if (a[2] != b[2] || a[3] != b[3] || (!eighth && !quarter)) return std::nullopt;
    return FamilyMatch{
        {*fields, *heat},
        1,
        kJoints,
        fmt::format("{} and {}: fields of 19 limbs and heat maps of 18 joints",
                    ToString(seen.outputs[*fields].info), ToString(seen.outputs[*heat].info))};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    for (const size_t i : match.outputs) {
      const std::vector<float>& values = seen.outputs[i].values;
      if (std::ranges::all_of(values, [](float v) { return std::abs(v) < 3; })) continue;
      return InvalidArgument("its {} has the shape of OpenPose's maps, but values far beyond 1",
                             ToString(seen.outputs[i].info));
    }
    return "body_18";
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_ASSIGN_OR_RETURN(std::vector<size_t> meant, MeantOutputs(spec, outputs, 2));
    SL_RETURN_IF_ERROR(CheckLayout(spec, {"body_18"}));
    // Of outputs whose channels are open the first are taken for the fields.
    const auto has = [&](size_t i, int64_t channels) {
      return IsMap(outputs[meant[i]].shape, channels) && outputs[meant[i]].shape[1] == channels;
    };
    if (spec.output_names.empty() && (has(0, kHeatChannels) || has(1, kFieldChannels))) {
      std::swap(meant[0], meant[1]);
    }
    if (!IsMap(outputs[meant[0]].shape, kFieldChannels) ||
        !IsMap(outputs[meant[1]].shape, kHeatChannels)) {
      return InvalidArgument(
          "model {}: family {} has outputs {}, this file has {}; set `outputs` in its model.yaml "
          "to "
          "the fields, then the heat maps",
          spec.name, name(), this->outputs(), DescribeTensors(outputs));
    }
    SL_RETURN_IF_ERROR(CheckLabels(spec, 1));
    return std::make_unique<OpenposeHead>(meant[0], meant[1], spec);
  }
};

}  // namespace

const ModelFamily& OpenposeFamily() {
  static const Openpose family;
  return family;
}

}  // namespace sightline
