#include "detect/recognise.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/uuid.h"
#include "detect/family.h"
#include "detect/known_strangers.h"
#include "detect/model_labels.h"
#include "detect/promptable_models.h"
#include "infer/model_store.h"

namespace sightline {
namespace {

// What is assumed where a file leaves its input size open.
constexpr int kOpenWidth = 640;
constexpr int kOpenHeight = 640;
constexpr int kMaxSide = 8192;
constexpr int64_t kMaxInputElements = int64_t{256} << 20;  // of one run: 1 GiB of floats; chosen

struct PictureInput {
  TensorInfo info;
  TensorLayout layout = TensorLayout::kNchw;
  int batch = 1;          // 0 = the file leaves it open
  bool batched = true;    // whether the shape begins with a batch at all
  std::string size_name;  // of a second input for the pictures' sizes; "" = none
  int width = 0;          // 0 = open
  int height = 0;
};

absl::StatusOr<PictureInput> FindPictureInput(const OnnxFileInfo& file) {
  PictureInput input;
  size_t pictures = 0;
  for (const TensorInfo& info : file.inputs) {
    if (IsSizeInput(info) && input.size_name.empty()) {
      input.size_name = info.name;
    } else {
      input.info = info;
      ++pictures;
    }
  }
  if (pictures != 1) {
    return InvalidArgument("it has {} inputs ({}); the known families take one picture",
                           file.inputs.size(), DescribeTensors(file.inputs));
  }
  const std::vector<int64_t>& s = input.info.shape;
  const auto side = [](int64_t d) {
    return d > 0 ? static_cast<int>(std::min<int64_t>(d, 1 << 20)) : 0;
  };
  if (s.size() == 3 && s[0] == 3) {
    input.batched = false;
    input.height = side(s[1]);
    input.width = side(s[2]);
  } else if (s.size() == 4 && s[1] == 3) {
    input.height = side(s[2]);
    input.width = side(s[3]);
  } else if (s.size() == 4 && s[3] == 3) {
    input.layout = TensorLayout::kNhwc;
    input.height = side(s[1]);
    input.width = side(s[2]);
  } else {
    return InvalidArgument(
        "its input {} is no colour picture; [batch, 3, height, width], [batch, height, width, 3] "
        "or "
        "[3, height, width] is expected",
        ToString(input.info));
  }
  if (input.width > kMaxSide || input.height > kMaxSide) {
    return InvalidArgument("its input {} is larger than {} pixels a side", ToString(input.info),
                           kMaxSide);
  }
  const DataType dtype = input.info.dtype;
  if (dtype != DataType::kFloat32 && dtype != DataType::kFloat16 && dtype != DataType::kUint8) {
    return InvalidArgument("its input {} has an element type that pictures are not turned into",
                           ToString(input.info));
  }
  input.batch = input.batched ? side(s[0]) : 1;
  const int64_t elements =
      int64_t{3} * std::max(input.batch, 1) * std::max(input.width, 1) * std::max(input.height, 1);
  if (elements > kMaxInputElements) {
    return InvalidArgument("its input {} takes more numbers at once than {}", ToString(input.info),
                           kMaxInputElements);
  }
  return input;
}

std::vector<int64_t> ShapeFor(const PictureInput& input, const TensorRecipe& recipe, int batch) {
  if (!input.batched) return {3, recipe.height, recipe.width};
  if (input.layout == TensorLayout::kNchw) return {batch, 3, recipe.height, recipe.width};
  return {batch, recipe.height, recipe.width, 3};
}

std::vector<float> Repeat(const std::vector<float>& picture, int times) {
  std::vector<float> all;
  all.reserve(picture.size() * times);
  for (int i = 0; i < times; ++i) all.insert(all.end(), picture.begin(), picture.end());
  return all;
}

// Outputs for each picture that hold nothing for the one that was given: families read the values that
// their shapes promise. Lists of what was found in all pictures (boxes [0, 4] beside masks
// [0, 1, 28, 28]) may be empty.
absl::Status CheckNotEmpty(const std::vector<ProbeOutput>& outputs,
                           const std::vector<size_t>& matched) {
  const bool lists =
      std::ranges::any_of(matched, [&](size_t i) { return outputs[i].info.shape.size() <= 2; });
  for (const size_t i : matched) {
    const std::vector<int64_t>& shape = outputs[i].info.shape;
    if (lists || shape.size() < 3 || shape[0] > 0) continue;
    return InvalidArgument("its output {} is empty for a test picture; export it again",
                           ToString(outputs[i].info));
  }
  return absl::OkStatus();
}

// What cannot be read as numbers at all.
absl::Status CheckValues(const ProbeOutput& output) {
  if (output.info.dtype == DataType::kInt64 || output.info.dtype == DataType::kInt32) {
    return absl::OkStatus();  // class numbers
  }
  if (output.info.dtype != DataType::kFloat32) {
    return InvalidArgument("its output {} is not float32; export it with float32 outputs",
                           ToString(output.info));
  }
  if (!std::ranges::all_of(output.values, [](float v) { return std::isfinite(v); })) {
    return InvalidArgument("its output {} holds NaN or infinite numbers for a plain test picture",
                           ToString(output.info));
  }
  return absl::OkStatus();
}

std::string KnownFamilies() {
  std::string text;
  for (const ModelFamily* family : Families()) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", family->name());
  }
  return text;
}

absl::Status Refuse(const OnnxFileInfo& file, const std::vector<TensorInfo>& outputs, int width,
                    int height) {
  const Stranger stranger = NameStranger(width, height, outputs);
  std::string text;
  if (stranger.name.empty()) {
    text = "its outputs fit none of the known families";
  } else {
    text = fmt::format("it looks like {}, but its outputs do not fit what is known of that",
                       stranger.name);
  }
  return InvalidArgument(
      "{}: {}. Seen: {} -> {}. {}", file.path, text, DescribeTensors(file.inputs),
      DescribeTensors(outputs),
      stranger.hint.empty()
          ? fmt::format("Known are {}; if it is one of them, describe it by `family`, `layout`, "
                        "`input` and `outputs`",
                        KnownFamilies())
          : "If you want to try, " + stranger.hint);
}

// The shapes spoke for some family, but the values did not.
absl::Status RefuseMisfit(const OnnxFileInfo& file, std::string_view misfits,
                          const std::vector<TensorInfo>& outputs, int width, int height) {
  const Stranger stranger = NameStranger(width, height, outputs);
  return InvalidArgument("{}: {}{}. Seen: {} -> {}", file.path, misfits,
                         stranger.name.empty() ? "" : "; by its shapes it is " + stranger.name,
                         DescribeTensors(file.inputs), DescribeTensors(outputs));
}

absl::StatusOr<std::vector<ProbeOutput>> ProbeAs(const ModelProbe& probe, const PictureInput& input,
                                                 const TensorRecipe& recipe) {
  const int batch = std::max(input.batch, 1);
  return probe(ShapeFor(input, recipe, batch), Repeat(ProbePicture(recipe, 0), batch));
}

// A family that shapes and values speak for.
struct Fit {
  FamilyMatch match;
  ModelSpec spec;  // family, layout, input, outputs and thresholds
  std::vector<std::string> warnings;
};

// Runs the model with the picture prepared as the family wants it, to see the values.
absl::StatusOr<Fit> FitByValues(const ModelFamily& family, const SeenModel& seen,
                                const PictureInput& input, const ModelProbe& probe) {
  Fit fit{{}, family.Defaults(seen.width, seen.height), {}};
  family.Adjust(seen, &fit.spec);
  if (family.preparation_varies()) {
    fit.warnings.push_back(
        "how its pictures are to be prepared (crop, mean, scale) is not in the file: what is usual "
        "for its family is assumed; compare `input` in its model.yaml with the training");
  }
  TensorRecipe& recipe = fit.spec.input;
  recipe.layout = input.layout;
  recipe.dtype = input.info.dtype;
  constexpr std::array<float, 3> kAsTheyAre = {1, 1, 1};
  if (recipe.dtype == DataType::kUint8 &&
      (recipe.scale != kAsTheyAre || recipe.mean != std::array<float, 3>{})) {
    recipe.mean = {0, 0, 0};
    recipe.scale = kAsTheyAre;
    fit.warnings.push_back("its input is uint8: it is fed pixels of 0..255 as they are");
  }
  SL_ASSIGN_OR_RETURN(const std::vector<ProbeOutput> outputs, ProbeAs(probe, input, recipe));
  const SeenModel prepared{seen.width, seen.height, outputs, seen.metadata, seen.operators};
  // Shapes may depend on the pixels, so those of the first run do not count any more.
  auto match = family.MatchShapes(prepared);
  if (!match) {
    return InvalidArgument("its outputs have other shapes for another picture: {}",
                           DescribeTensors(InfosOf(outputs)));
  }
  fit.match = *std::move(match);
  SL_RETURN_IF_ERROR(CheckNotEmpty(outputs, fit.match.outputs));
  for (const size_t i : fit.match.outputs) {
    SL_RETURN_IF_ERROR(CheckValues(outputs[i]));
    fit.spec.output_names.push_back(outputs[i].info.name);
  }
  SL_ASSIGN_OR_RETURN(fit.spec.layout, family.LayoutByValues(prepared, fit.match));
  fit.match.classes = family.ClassesIn(fit.match, fit.spec.layout);
  return fit;
}

absl::Status Ambiguous(const std::vector<Fit>& fits) {
  std::string text;
  for (const Fit& fit : fits) {
    text += fmt::format("\n  `family: {}` and `layout: {}`: {}", fit.spec.family, fit.spec.layout,
                        fit.match.sentence);
  }
  return InvalidArgument("it may be of several families; describe it by one of{}", text);
}

// Whether a batch of two pictures gives what the pictures give alone.
bool BatchesWork(const ModelProbe& probe, const PictureInput& input, const TensorRecipe& recipe) {
  const std::vector<float> one = ProbePicture(recipe, 0), other = ProbePicture(recipe, 1);
  std::vector<float> both = one;
  both.insert(both.end(), other.begin(), other.end());
  const auto first = probe(ShapeFor(input, recipe, 1), one);
  const auto second = probe(ShapeFor(input, recipe, 1), other);
  const auto pair = probe(ShapeFor(input, recipe, 2), both);
  if (!first.ok() || !second.ok() || !pair.ok() || pair->size() != first->size()) return false;
  for (size_t o = 0; o < pair->size(); ++o) {
    const std::vector<float>&a = (*first)[o].values, &b = (*second)[o].values,
          &p = (*pair)[o].values;
    if (p.empty() || p.size() != a.size() + b.size()) return false;
    for (size_t i = 0; i < p.size(); ++i) {
      const float alone = i < a.size() ? a[i] : b[i - a.size()];
      if (!(std::abs(p[i] - alone) <= 1e-3f * std::max(1.0f, std::abs(alone)))) return false;
    }
  }
  return true;
}

}  // namespace

absl::StatusOr<ModelSpec> FamilyDefaults(const std::string& family, int width, int height) {
  SL_ASSIGN_OR_RETURN(const ModelFamily* found, FindFamily(family));
  return found->Defaults(width, height);
}

absl::StatusOr<Recognition> RecogniseModel(const OnnxFileInfo& file, const ModelProbe& probe) {
  const auto in_file = [&](const absl::Status& status) { return WithContext(status, file.path); };
  if (const std::string hint = PromptableHint(file); !hint.empty()) {
    return in_file(InvalidArgument("{}", hint));
  }
  auto found_input = FindPictureInput(file);
  if (!found_input.ok()) return in_file(found_input.status());
  const PictureInput& input = *found_input;

  // First run, to see real shapes: declared ones may be open or wrong. The values do not matter
  // yet.
  TensorRecipe recipe;
  recipe.width = input.width > 0 ? input.width : kOpenWidth;
  recipe.height = input.height > 0 ? input.height : kOpenHeight;
  recipe.layout = input.layout;
  auto shapes_run = ProbeAs(probe, input, recipe);
  if (!shapes_run.ok()) {
    return in_file(
        WithContext(shapes_run.status(), fmt::format("it cannot be run on a test picture of "
                                                     "{}x{}",
                                                     recipe.width, recipe.height)));
  }
  std::vector<Fit> fits;
  std::string misfits;
  const SeenModel seen{recipe.width, recipe.height, *shapes_run, &file.metadata, &file.op_counts};
  for (const ModelFamily* family : Families()) {
    if (!family->MatchShapes(seen)) continue;
    auto fit = FitByValues(*family, seen, input, probe);
    if (fit.ok()) {
      fits.push_back(*std::move(fit));
    } else {
      misfits += fmt::format("{}{}", misfits.empty() ? "" : "; ", MessageOf(fit.status()));
    }
  }
  if (fits.size() > 1) return in_file(Ambiguous(fits));
  if (fits.empty()) {
    const std::vector<TensorInfo> outputs = InfosOf(*shapes_run);
    return misfits.empty() ? Refuse(file, outputs, recipe.width, recipe.height)
                           : RefuseMisfit(file, misfits, outputs, recipe.width, recipe.height);
  }

  Fit& fit = fits[0];
  Recognition result{std::move(fit.spec), "", std::move(fit.warnings)};
  ModelSpec& spec = result.spec;
  if (input.width == 0 || input.height == 0) {
    result.warnings.push_back(
        fmt::format("the file leaves its input size open; {}x{} is assumed, describe it by "
                    "`input.width` and `input.height` for another",
                    recipe.width, recipe.height));
  }
  spec.batch = input.batch;
  if (input.batch == 0 && !BatchesWork(probe, input, spec.input)) {
    spec.batch = 1;
    result.warnings.push_back(
        "the file leaves its batch open but gives wrong results or fails for two pictures at once: "
        "one at a time is used");
  }
  spec.name = ModelNameFromFile(file.path);
  spec.file = file.path;
  spec.sha256 = FileSha256(file.path);
  spec.input_name = input.info.name;
  spec.size_input_name = input.size_name;
  ModelLabels labels = LabelsFor(file.metadata, spec.family, fit.match.classes);
  spec.labels = std::move(labels.labels);
  spec.classes = fit.match.classes;
  spec.keypoints = fit.match.keypoints;
  if (!labels.warning.empty()) result.warnings.push_back(std::move(labels.warning));
  result.why = fmt::format("{}; layout {} by the values for a test picture; labels: {}",
                           fit.match.sentence, spec.layout, labels.source);
  return result;
}

}  // namespace sightline
