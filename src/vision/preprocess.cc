#include "vision/preprocess.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "vision/image_check.h"
#include "vision/row_resizer.h"
#include "vision/tensor_writer.h"

namespace sightline {
namespace {

constexpr size_t kMaxGeometries = 16;

absl::Status CheckRecipe(const TensorRecipe& recipe) {
  if (recipe.width < 1 || recipe.height < 1 || recipe.width > kMaxImageSide ||
      recipe.height > kMaxImageSide) {
    return InvalidArgument("model input is {}x{}; each side must be 1 to {} pixels", recipe.width,
                           recipe.height, kMaxImageSide);
  }
  if (recipe.dtype != DataType::kFloat32 && recipe.dtype != DataType::kFloat16 &&
      recipe.dtype != DataType::kUint8) {
    return InvalidArgument(
        "model input has element type {}; images go into float32, float16 or "
        "uint8",
        ToString(recipe.dtype));
  }
  if (recipe.crop_from < 0 || recipe.crop_from > kMaxImageSide) {
    return InvalidArgument(
        "model input: crop_from is {}; the shorter side before the crop must be 1 to {} pixels, or "
        "0 "
        "for the larger side of the input",
        recipe.crop_from, kMaxImageSide);
  }
  if (recipe.border < 0 || 2 * recipe.border >= std::min(recipe.width, recipe.height)) {
    return InvalidArgument(
        "model input: a border of {} pixels leaves nothing of an input of {}x{}; it must be 0 or "
        "more and less than half of either side",
        recipe.border, recipe.width, recipe.height);
  }
  for (int c = 0; c < 3; ++c) {
    if (!std::isfinite(recipe.mean[c]) || !std::isfinite(recipe.scale[c])) {
      return InvalidArgument(
          "model input: mean and scale of channel {} must be finite numbers, got "
          "{} and {}",
          c, recipe.mean[c], recipe.scale[c]);
    }
  }
  return absl::OkStatus();
}

}  // namespace

struct Preprocessor::State {
  struct Geometry {
    int width, height;
    PixelFormat format;
    uint64_t last_used;
    Placement place;
    std::unique_ptr<RowResizer> resizer;
  };

  explicit State(const TensorRecipe& r) : recipe(r), writer(r) {
    geometries.reserve(kMaxGeometries);
  }

  Geometry& Find(const ImageView& image) {
    ++now;
    for (Geometry& g : geometries) {
      if (g.width == image.width && g.height == image.height && g.format == image.format) {
        g.last_used = now;
        return g;
      }
    }
    if (geometries.size() == kMaxGeometries) {
      geometries.erase(std::min_element(
          geometries.begin(), geometries.end(),
          [](const Geometry& a, const Geometry& b) { return a.last_used < b.last_used; }));
    }
    Geometry g{
        image.width, image.height, image.format, now, PlaceImage(recipe, image.width, image.height),
        nullptr};
    g.resizer = std::make_unique<RowResizer>(image.format, g.place.columns, g.place.rows,
                                             recipe.interpolation);
    geometries.push_back(std::move(g));
    return geometries.back();
  }

  const TensorRecipe recipe;
  TensorWriter writer;
  std::vector<Geometry> geometries;
  uint64_t now = 0;
};

size_t TensorBytes(const TensorRecipe& recipe) {
  return static_cast<size_t>(recipe.width) * recipe.height * 3 * SizeOf(recipe.dtype);
}

absl::StatusOr<Preprocessor> Preprocessor::Create(const TensorRecipe& recipe) {
  if (absl::Status status = CheckRecipe(recipe); !status.ok()) return status;
  return Preprocessor(std::make_unique<State>(recipe));
}

Preprocessor::Preprocessor(std::unique_ptr<State> state) : state_(std::move(state)) {}
Preprocessor::Preprocessor(Preprocessor&&) noexcept = default;
Preprocessor& Preprocessor::operator=(Preprocessor&&) noexcept = default;
Preprocessor::~Preprocessor() = default;

const TensorRecipe& Preprocessor::recipe() const { return state_->recipe; }

absl::Status Preprocessor::Run(const ImageView& image, void* tensor, ImageToTensor* mapping,
                               TensorPadding* padding) {
  if (absl::Status status = CheckImage(image); !status.ok()) return status;
  const State::Geometry& geometry = state_->Find(image);
  const Placement& place = geometry.place;
  TensorWriter& writer = state_->writer;
  RowResizer& resizer = *geometry.resizer;
  const TensorPadding padded{place.x, place.y, place.width, place.height};
  writer.Begin(tensor, place, padding == nullptr || *padding != padded);
  if (padding != nullptr) *padding = padded;
  resizer.Begin(image);
  const bool direct = writer.planar_f32();
  for (int y = 0; y < place.height; ++y) {
    if (direct) {
      resizer.StoreRow(y, writer.RowOfTensor(place.y + y));
    } else {
      writer.WriteRow(place.y + y, resizer.Row(y));
    }
  }
  if (mapping != nullptr) *mapping = place.mapping;
  return absl::OkStatus();
}

}  // namespace sightline
