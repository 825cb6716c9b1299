#include "detect/heads/anchor_maps.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "detect/model_labels.h"

namespace sightline::anchor_maps {
namespace {

using namespace head_internal;  // NOLINT: the heads' own

constexpr int kUsualAnchors = 3;
constexpr int kBoxAndObjectness = 5;
constexpr int64_t kMostClasses = 100'000;
constexpr int64_t kMostCells = 16'384;  // on a side; declared shapes may hold any number
constexpr std::array<std::string_view, 4> kLayouts = {"maps", "maps_scored", "maps_activated",
                                                      "maps_decoded"};

// The stride of a grid of rows x columns over the input; 0 when it is none.
float StrideOf(int64_t rows, int64_t columns, int width, int height) {
  if (rows < 1 || columns < 1 || rows > kMostCells || columns > kMostCells) return 0;
  for (const int stride : {4, 8, 16, 32, 64, 128}) {
    if (columns * stride == width && rows * stride == height) return static_cast<float>(stride);
  }
  return 0;
}

// Where rows, columns, anchors and the numbers of an anchor stand in a shape; -1 for the anchors:
// together with the numbers.
struct Order {
  size_t rank;
  int rows, columns, anchors, numbers;
};
constexpr std::array<Order, 5> kOrders = {
    {{4, 2, 3, -1, 1}, {4, 1, 2, -1, 3}, {5, 2, 3, 1, 4}, {5, 1, 2, 3, 4}, {5, 3, 4, 1, 2}}};

// The level that an output of this shape is in this order, with `classes` classes or, with 0, any
// number of them, which is written back.
std::optional<Level> LevelOf(const Order& order, const std::vector<int64_t>& s, int width,
                             int height, int anchors, int* classes) {
  if (s.size() != order.rank) return std::nullopt;
  const int64_t rows = s[order.rows], columns = s[order.columns];
  const float stride = StrideOf(rows, columns, width, height);
  int64_t numbers = s[order.numbers];
  if (order.anchors < 0 ? numbers % anchors != 0 : s[order.anchors] != anchors) return std::nullopt;
  if (order.anchors < 0) numbers /= anchors;
  if (stride == 0 || numbers <= kBoxAndObjectness || numbers > kMostClasses) return std::nullopt;
  const auto found = static_cast<int>(numbers - kBoxAndObjectness);
  if (*classes != 0 && *classes != found) return std::nullopt;
  *classes = found;
  Level level{0, static_cast<int>(rows), static_cast<int>(columns), stride, 0, 0, 0};
  if (order.numbers > order.columns) {  // the numbers of an anchor side by side
    level.number_step = 1;
    level.anchor_step = order.anchors == 1 ? rows * columns * numbers : numbers;
    level.cell_step = order.anchors == 1 ? numbers : anchors * numbers;
  } else {
    level.number_step = rows * columns;
    level.anchor_step = rows * columns * numbers;
    level.cell_step = 1;
  }
  return level;
}

// The number of classes that the declared shape shows, where rows and columns may be open; 0 when
// it does not.
int DeclaredClasses(const TensorInfo& info, const ModelSpec& spec, int anchors) {
  const std::vector<int64_t>& s = info.shape;
  for (const Order& order : kOrders) {
    int classes = 0;
    if (LevelOf(order, s, spec.input.width, spec.input.height, anchors, &classes)) return classes;
  }
  const auto numbers_of = [&](int64_t n) {
    return n > kBoxAndObjectness && n <= kMostClasses ? static_cast<int>(n) - kBoxAndObjectness : 0;
  };
  if (s.size() == 5 && s[4] > 0 && (s[1] == anchors || s[3] == anchors)) return numbers_of(s[4]);
  if (s.size() != 4) return 0;
  if (s[1] < 0 && s[2] < 0 && s[3] > 0 && s[3] % anchors == 0) return numbers_of(s[3] / anchors);
  if (s[2] < 0 && s[3] < 0 && s[1] > 0 && s[1] % anchors == 0) return numbers_of(s[1] / anchors);
  return 0;
}

// The logit above which a sigmoid exceeds `confidence`; a hair less, for rounding.
float LogitOf(float confidence) {
  if (confidence <= 0) return -std::numeric_limits<float>::infinity();
  if (confidence >= 1) return std::numeric_limits<float>::infinity();
  return std::log(confidence / (1 - confidence)) - 1e-4f;
}

struct Rules {
  BoxLaw law = BoxLaw::kDarknet;
  bool box_activated = false;  // its sigmoids are done
  bool box_decoded = false;    // and all the rest
  bool scores_activated = false;
  int anchors = kUsualAnchors;  // in a cell
  int classes = 0;
  int width = 0;  // of the input tensor
  int height = 0;
};

class AnchorMapsHead : public Head {
 public:
  AnchorMapsHead(const Rules& rules, AnchorSet anchors, std::vector<size_t> outputs)
      : rules_(rules), anchors_(std::move(anchors)), outputs_(std::move(outputs)) {}

  int classes() const override { return rules_.classes; }

  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override {
    std::array<Level, kMostLevels> levels;
    SL_RETURN_IF_ERROR(FindLevels(raw, levels));
    const float least = rules_.scores_activated ? min_confidence : LogitOf(min_confidence);
    int64_t seen = 0, nan = 0;
    for (size_t l = 0; l < outputs_.size(); ++l) {
      const Level& level = levels[l];
      SL_ASSIGN_OR_RETURN(const float* map,
                          EntryOf(raw, level.output, raw.outputs[level.output].shape));
      for (int64_t cell = 0; cell < int64_t{level.rows} * level.columns; ++cell) {
        for (int a = 0; a < rules_.anchors; ++a, ++seen) {
          const float* at = map + a * level.anchor_step + cell * level.cell_step;
          const float objectness = at[4 * level.number_step];
          if (!(objectness > least)) {
            nan += std::isnan(objectness);
            continue;
          }
          const auto [best, class_id] = BestClass(at, level);
          if (class_id < 0) continue;
          const float score = Activated(objectness) * Activated(best);
          if (!(score > min_confidence) || !std::isfinite(score)) continue;
          if (score > kMaxScore) return NotProbabilities(score);
          const Box box = raw.mapping.ToImage(TensorBox(at, level, l, a, cell));
          if (!IsUsable(box)) continue;
          if (out->size() >= kMostCandidates) return TooManyCandidates();
          out->push_back({box, std::min(score, 1.0f), class_id, static_cast<int32_t>(seen)});
        }
      }
    }
    return seen > 0 && nan == seen ? NothingButNan() : absl::OkStatus();
  }

 private:
  // By the shapes that came, by rising stride: what a file declares may be open. A map of 3 x 3 cells
  // fits two orders, so that all of them together decide.
  absl::Status FindLevels(const RawResult& raw, std::array<Level, kMostLevels>& levels) const {
    for (const size_t output : outputs_) {
      if (output >= raw.outputs.size()) {
        return DataLoss("the model gave {} outputs where at least {} were expected",
                        raw.outputs.size(), output + 1);
      }
    }
    size_t fitting = 0;
    for (auto order = kOrders.begin(); order != kOrders.end() && fitting < outputs_.size();
         ++order) {
      fitting = 0;
      for (const size_t output : outputs_) {
        int classes = rules_.classes;
        const auto level = LevelOf(*order, raw.outputs[output].shape, rules_.width, rules_.height,
                                   rules_.anchors, &classes);
        if (!level) break;
        levels[fitting] = *level;
        levels[fitting++].output = output;
      }
    }
    if (fitting < outputs_.size()) {
      const TensorView& view = raw.outputs[outputs_[fitting]];
      return DataLoss(
          "output {} is {}[{}], which is no map of {} anchors and {} classes for an input of "
          "{}x{}, or has its dimensions in another order than the other maps",
          outputs_[fitting], ToString(view.dtype), fmt::join(view.shape, ","), rules_.anchors,
          rules_.classes, rules_.width, rules_.height);
    }
    const auto end = levels.begin() + static_cast<std::ptrdiff_t>(outputs_.size());
    std::sort(levels.begin(), end,
              [](const Level& a, const Level& b) { return a.stride < b.stride; });
    const auto same = std::adjacent_find(
        levels.begin(), end, [](const Level& a, const Level& b) { return a.stride == b.stride; });
    if (same == end) return absl::OkStatus();
    return DataLoss("the model gave two maps of {}x{} cells", same->columns, same->rows);
  }

  float Activated(float v) const { return rules_.scores_activated ? v : Sigmoid(v); }
  float BoxNumber(float v) const { return rules_.box_activated ? v : Sigmoid(v); }

  // The best class and its number as it stands there; -1 when all are NaN.
  std::pair<float, int32_t> BestClass(const float* at, const Level& level) const {
    float best = -std::numeric_limits<float>::infinity();
    int32_t class_id = -1;
    const float* score = at + kBoxAndObjectness * level.number_step;
    for (int32_t c = 0; c < rules_.classes; ++c, score += level.number_step) {
      if (*score > best) {
        best = *score;
        class_id = c;
      }
    }
    return {best, class_id};
  }

  Box TensorBox(const float* at, const Level& level, size_t l, int anchor, int64_t cell) const {
    float cx = at[0], cy = at[level.number_step], w = at[2 * level.number_step],
          h = at[3 * level.number_step];
    if (!rules_.box_decoded) {
      const auto column = static_cast<float>(cell % level.columns);
      const auto row = static_cast<float>(cell / level.columns);
      const float scale = anchors_.scale_xy[l], shift = (scale - 1) * 0.5f;
      cx = (scale * BoxNumber(cx) - shift + column) * level.stride;
      cy = (scale * BoxNumber(cy) - shift + row) * level.stride;
      if (rules_.law == BoxLaw::kDarknet) {
        w = std::exp(w);
        h = std::exp(h);
      } else {
        w = 4 * BoxNumber(w) * BoxNumber(w);
        h = 4 * BoxNumber(h) * BoxNumber(h);
      }
      const size_t size = 2 * (l * static_cast<size_t>(rules_.anchors) + anchor);
      w *= anchors_.sizes[size];
      h *= anchors_.sizes[size + 1];
    }
    return {cx - w * 0.5f, cy - h * 0.5f, cx + w * 0.5f, cy + h * 0.5f};
  }

  const Rules rules_;
  const AnchorSet anchors_;
  const std::vector<size_t> outputs_;
};

// What the values of a run say: shares of all anchors.
struct SeenValues {
  double scores_within_unit = 0;
  double boxes_within_unit = 0;
  double off_cells = 0;  // median distance of centres from their cells', if they are in pixels
};

SeenValues Look(const SeenModel& seen, const Form& form) {
  int64_t all = 0, scores = 0, boxes = 0;
  std::vector<double> off;
  for (const Level& level : form.levels) {
    const float* map = seen.outputs[level.output].values.data();
    for (int cell = 0; cell < level.rows * level.columns; ++cell) {
      for (int a = 0; a < kUsualAnchors; ++a, ++all) {
        const float* at = map + a * level.anchor_step + cell * level.cell_step;
        const auto fine = [&](int from, int to) {
          for (int k = from; k < to; ++k) {
            if (!IsWithinUnit(at[k * level.number_step])) return false;
          }
          return true;
        };
        boxes += fine(0, 4);
        scores += fine(4, kBoxAndObjectness + form.classes);
        off.push_back(std::abs(at[0] / level.stride - cell % level.columns - 0.5) +
                      std::abs(at[level.number_step] / level.stride - cell / level.columns - 0.5));
      }
    }
  }
  const auto share = [&](int64_t n) {
    return all == 0 ? 0 : static_cast<double>(n) / static_cast<double>(all);
  };
  return {share(scores), share(boxes), Median(std::move(off))};
}

const AnchorSet& SetFor(const FamilyMaps& maps, size_t levels) {
  return levels == 2 ? maps.two : maps.three;
}

// YOLOv8's maps of 64 numbers for a box and its class scores are three anchors' by their shape
// too. They are told apart by the number of classes where that says anything.
constexpr int kDistributionNumbers = 64;
bool MayBeDistributions(int classes) {
  return kUsualAnchors * (kBoxAndObjectness + classes) > kDistributionNumbers && classes != 80 &&
         classes != 20;
}

}  // namespace

std::vector<float> CocoAnchors() {
  return {10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326};
}

std::vector<float> WiderCocoAnchors() {
  return {12, 16, 19, 36, 40, 28, 36, 75, 76, 55, 72, 146, 142, 110, 192, 243, 459, 401};
}

std::optional<Form> FindForm(const SeenModel& seen) {
  if (seen.outputs.size() != 2 && seen.outputs.size() != 3) return std::nullopt;
  for (const Order& order : kOrders) {
    Form form;
    for (size_t i = 0; i < seen.outputs.size(); ++i) {
      const TensorInfo& info = seen.outputs[i].info;
      auto level =
          LevelOf(order, info.shape, seen.width, seen.height, kUsualAnchors, &form.classes);
      if (!level || info.dtype != DataType::kFloat32) break;
      level->output = i;
      form.levels.push_back(*level);
    }
    std::ranges::sort(form.levels, {}, &Level::stride);
    float stride = form.levels.size() == 2 ? 16 : 8;
    bool doubling = form.levels.size() == seen.outputs.size();
    for (const Level& level : form.levels) {
      doubling = doubling && level.stride == stride;
      stride *= 2;
    }
    if (doubling) return form;
  }
  return std::nullopt;
}

std::optional<FamilyMatch> MatchShapes(const SeenModel& seen, std::string_view family,
                                       const FamilyMaps& maps) {
  const auto form = FindForm(seen);
  if (!form || SetFor(maps, form->levels.size()).sizes.empty()) return std::nullopt;
  FamilyMatch match{{}, form->classes, 0, ""};
  std::vector<TensorInfo> infos;
  for (const Level& level : form->levels) {
    match.outputs.push_back(level.output);
    infos.push_back(seen.outputs[level.output].info);
  }
  match.sentence = fmt::format(
      "{}: a box, its objectness and {} class scores for three anchors in each cell of {}x{} at "
      "strides {} to 32, before the last layer of {}; its anchors are in no file, those of the "
      "published models are assumed",
      DescribeTensors(infos), form->classes, seen.width, seen.height, form->levels[0].stride,
      family);
  return match;
}

absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen, std::string_view family,
                                           const FamilyMaps& maps) {
  const auto form = FindForm(seen);
  if (!form) return InvalidArgument("its outputs are no maps of anchors");
  const bool named = seen.metadata != nullptr && NamesIn(*seen.metadata, form->classes);
  const SeenValues values = Look(seen, *form);
  std::string layout;
  if (values.scores_within_unit < kNearlyAll) {
    layout = "maps";
  } else if (values.boxes_within_unit < kNearlyAll) {
    // Centres are within 1.0 of their cells' by construction.
    layout = values.off_cells <= 2 ? "maps_decoded" : "maps_scored";
  } else {
    layout = "maps_activated";
  }
  if ((layout == "maps_scored" && maps.law == BoxLaw::kSquare) ||
      (layout == "maps_activated" && maps.law == BoxLaw::kDarknet)) {
    return InvalidArgument(
        "its {} maps have the shapes of {}, but {} lie within 0..1, which its last layer does not "
        "begin with",
        form->levels.size(), family,
        layout == "maps_scored" ? "scores and no boxes" : "boxes and scores");
  }
  if (named || !MayBeDistributions(form->classes)) return layout;
  return InvalidArgument(
      "its maps may be those of three anchors and {} classes, or a box's distributions and {} "
      "classes as YOLOv8 has them before its last layer (export that whole); for the former "
      "describe it by `family: {}` and `layout: {}`",
      form->classes, kUsualAnchors * (kBoxAndObjectness + form->classes) - kDistributionNumbers,
      family, layout);
}

void WriteAnchors(const SeenModel& seen, const FamilyMaps& maps, ModelSpec* spec) {
  const auto form = FindForm(seen);
  if (!form) return;
  const AnchorSet& set = SetFor(maps, form->levels.size());
  spec->anchors = set.sizes;
  if (std::ranges::any_of(set.scale_xy, [](float s) { return s != 1; }) &&
      maps.law == BoxLaw::kDarknet) {
    spec->scale_xy = set.scale_xy;
  }
}

bool IsLayout(std::string_view layout) {
  return std::ranges::find(kLayouts, layout) != kLayouts.end();
}

absl::StatusOr<std::unique_ptr<Head>> MakeHead(const ModelSpec& spec,
                                               std::span<const TensorInfo> outputs,
                                               const FamilyMaps& maps) {
  SL_ASSIGN_OR_RETURN(std::vector<size_t> meant, MeantOutputs(spec, outputs));
  const size_t levels = meant.size();
  if (levels < 1 || levels > kMostLevels) {
    return InvalidArgument(
        "model {}: family {} in layout {} has one map a stride, {} at most, this file has {}; set "
        "`outputs` in its model.yaml to those that are meant",
        spec.name, spec.family, spec.layout, kMostLevels, DescribeTensors(outputs));
  }
  AnchorSet set = levels == 2 || levels == 3 ? SetFor(maps, levels) : AnchorSet();
  if (!spec.anchors.empty()) set.sizes = spec.anchors;
  if (!spec.scale_xy.empty()) set.scale_xy = spec.scale_xy;
  if (maps.law == BoxLaw::kSquare) set.scale_xy.assign(levels, 2);
  if (set.scale_xy.empty()) set.scale_xy.assign(levels, 1);
  // Boxes that are decoded need no sizes: only how many anchors a cell has.
  if (spec.layout == "maps_decoded" && set.sizes.empty()) {
    set.sizes.assign(2 * levels * kUsualAnchors, 1);
  }
  if (set.sizes.empty() || set.sizes.size() % (2 * levels) != 0) {
    return InvalidArgument(
        "model {}: it has {} maps, and `anchors` in its model.yaml {} numbers: width and height of "
        "each anchor are wanted, as many for each map, the map of the smallest stride first",
        spec.name, levels, set.sizes.size());
  }
  if (set.scale_xy.size() != levels) {
    return InvalidArgument(
        "model {}: it has {} maps, and `scale_xy` in its model.yaml {} numbers: one a map is "
        "wanted, the map of the smallest stride first",
        spec.name, levels, set.scale_xy.size());
  }
  Rules rules;
  rules.law = maps.law;
  rules.box_decoded = spec.layout == "maps_decoded";
  rules.box_activated = spec.layout == "maps_activated";
  rules.scores_activated = spec.layout != "maps";
  rules.anchors = static_cast<int>(set.sizes.size() / (2 * levels));
  rules.width = spec.input.width;
  rules.height = spec.input.height;
  for (const size_t i : meant) {
    const int classes = DeclaredClasses(outputs[i], spec, rules.anchors);
    if (rules.classes == 0) rules.classes = classes;
    if (classes != 0 && classes != rules.classes) rules.classes = -1;
  }
  if (rules.classes == 0) rules.classes = spec.classes;
  if (rules.classes < 1) {
    return InvalidArgument(
        "model {}: family {} in layout {} has one map a stride of {} x (5 + classes) numbers for "
        "an input of {}x{}; this file has {}; correct `outputs`, `anchors` or `classes` in its "
        "model.yaml",
        spec.name, spec.family, spec.layout, rules.anchors, rules.width, rules.height,
        DescribeTensors(outputs));
  }
  SL_RETURN_IF_ERROR(CheckLabels(spec, rules.classes));
  return std::make_unique<AnchorMapsHead>(rules, std::move(set), std::move(meant));
}

}  // namespace sightline::anchor_maps
