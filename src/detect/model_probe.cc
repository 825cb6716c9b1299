#include "detect/model_probe.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>

namespace sightline {
namespace {

constexpr int64_t kMaxProbeElements = int64_t{64} << 20;  // 256 MiB of floats; chosen

// IEEE 754 binary16, rounded to nearest even by way of the float format's own rounding.
uint16_t HalfOf(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const float magnitude = std::abs(value);
  if (!(magnitude < 65520.0f)) return sign | (magnitude != magnitude ? 0x7e00u : 0x7c00u);
  if (magnitude < 6.103515625e-05f) {  // subnormal: multiples of 2^-24
    return sign | static_cast<uint16_t>(std::nearbyint(magnitude * 16777216.0f));
  }
  const uint32_t m = std::bit_cast<uint32_t>(magnitude);
  return sign | static_cast<uint16_t>((m - 0x38000000u + 0xfffu + (m >> 13 & 1u)) >> 13);
}

float FloatOf(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t rest = half & 0x7fffu;
  if (rest >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
  if (rest < 0x400u) {
    const float magnitude = static_cast<float>(rest) * (1.0f / 16777216.0f);
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((rest << 13) + 0x38000000u));
}

absl::Status Fill(DataType dtype, std::span<const float> values, void* to) {
  switch (dtype) {
    case DataType::kFloat32:
      std::memcpy(to, values.data(), values.size() * sizeof(float));
      return absl::OkStatus();
    case DataType::kFloat16:
      std::ranges::transform(values, static_cast<uint16_t*>(to), HalfOf);
      return absl::OkStatus();
    case DataType::kUint8:
      std::ranges::transform(values, static_cast<uint8_t*>(to), [](float v) {
        return static_cast<uint8_t>(std::clamp(v, 0.0f, 255.0f));
      });
      return absl::OkStatus();
    default:
      return InvalidArgument(
          "its input has the element type {}; float32, float16 and uint8 are known",
          ToString(dtype));
  }
}

absl::StatusOr<ProbeOutput> Copy(const TensorInfo& declared, const TensorView& view) {
  ProbeOutput output{{declared.name, view.dtype, view.shape}, {}};
  const int64_t elements = view.elements();
  if (elements < 0 || elements > kMaxProbeElements) {
    return ResourceExhausted("its output {} is too large", ToString(output.info));
  }
  if (view.dtype == DataType::kFloat32) {
    output.values.assign(view.f32(), view.f32() + elements);
  } else if (view.dtype == DataType::kFloat16) {
    const auto* halves = static_cast<const uint16_t*>(view.data);
    output.values.resize(elements);
    std::transform(halves, halves + elements, output.values.begin(), FloatOf);
  }
  if (view.dtype == DataType::kInt64) {
    const auto* integers = static_cast<const int64_t*>(view.data);
    output.values.assign(integers, integers + elements);
  } else if (view.dtype == DataType::kInt32) {
    const auto* integers = static_cast<const int32_t*>(view.data);
    output.values.assign(integers, integers + elements);
  }
  return output;
}

// Width and height out of the shape of a batch of pictures, into an input for sizes.
absl::Status FillSizes(InferenceSession& session, size_t index, std::span<const int64_t> shape) {
  const bool nhwc = shape.size() == 4 && shape[3] == 3 && shape[1] != 3;
  const int64_t batch = shape.size() == 4 ? shape[0] : 1;
  const int64_t height = shape[shape.size() - (nhwc ? 3 : 2)];
  const int64_t width = shape[shape.size() - (nhwc ? 2 : 1)];
  SL_ASSIGN_OR_RETURN(void* const buffer,
                      session.InputBuffer(index, std::array<int64_t, 2>{batch, 2}));
  for (int64_t i = 0; i < batch; ++i) {
    WriteSize(session.inputs()[index].dtype, static_cast<int>(width), static_cast<int>(height),
              static_cast<size_t>(i), buffer);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ProbeOutput>> RunOnce(InferenceSession& session,
                                                 std::span<const int64_t> shape,
                                                 std::span<const float> values) {
  size_t pictures = 0, picture = 0;
  for (size_t i = 0; i < session.inputs().size(); ++i) {
    if (IsSizeInput(session.inputs()[i])) {
      SL_RETURN_IF_ERROR(FillSizes(session, i, shape));
    } else {
      ++pictures;
      picture = i;
    }
  }
  if (pictures != 1) {
    return InvalidArgument("it has {} inputs where one picture was expected",
                           session.inputs().size());
  }
  SL_ASSIGN_OR_RETURN(void* const buffer, session.InputBuffer(picture, shape));
  SL_RETURN_IF_ERROR(Fill(session.inputs()[picture].dtype, values, buffer));
  SL_ASSIGN_OR_RETURN(const std::span<const TensorView> views, session.Run());
  std::vector<ProbeOutput> outputs;
  for (size_t i = 0; i < views.size() && i < session.outputs().size(); ++i) {
    SL_ASSIGN_OR_RETURN(outputs.emplace_back(), Copy(session.outputs()[i], views[i]));
  }
  return outputs;
}

}  // namespace

std::vector<TensorInfo> InfosOf(std::span<const ProbeOutput> outputs) {
  std::vector<TensorInfo> infos;
  for (const ProbeOutput& output : outputs) infos.push_back(output.info);
  return infos;
}

bool IsSizeInput(const TensorInfo& input) {
  if (input.shape.size() != 2 || input.shape[1] != 2) return false;
  return input.dtype == DataType::kInt64 ||
         (input.dtype == DataType::kFloat32 && input.name.find("image_shape") != std::string::npos);
}

void WriteSize(DataType dtype, int width, int height, size_t picture, void* sizes) {
  if (dtype == DataType::kFloat32) {
    static_cast<float*>(sizes)[2 * picture] = static_cast<float>(height);
    static_cast<float*>(sizes)[2 * picture + 1] = static_cast<float>(width);
  } else {
    static_cast<int64_t*>(sizes)[2 * picture] = width;
    static_cast<int64_t*>(sizes)[2 * picture + 1] = height;
  }
}

ModelProbe ProbeWith(InferenceBackend& backend, std::string model_file) {
  auto session = std::make_shared<std::unique_ptr<InferenceSession>>();
  return [&backend, model_file = std::move(model_file), session](
             std::span<const int64_t> shape,
             std::span<const float> values) -> absl::StatusOr<std::vector<ProbeOutput>> {
    if (*session == nullptr) {
      SessionOptions options;
      options.model_file = model_file;
      options.max_batch = static_cast<int>(std::max<int64_t>(2, shape[0]));
      options.picture_shape.assign(shape.begin(), shape.end());
      SL_ASSIGN_OR_RETURN(*session, backend.Open(options));
    }
    return RunOnce(**session, shape, values);
  };
}

std::vector<float> ProbePicture(const TensorRecipe& recipe, int variant) {
  const int width = recipe.width, height = recipe.height;
  std::vector<float> tensor(size_t{3} * width * height);
  uint32_t noise = 12345u + 77u * variant;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const float check = ((x / 24 + y / 24 + variant) % 2) * 60.0f;
      for (int c = 0; c < 3; ++c) {
        noise = noise * 1664525u + 1013904223u;
        const float slope = c == 0   ? 150.0f * x / width
                            : c == 1 ? 150.0f * y / height
                                     : 75.0f * (x + y) / (width + height);
        const float bright = slope + check + static_cast<float>(noise >> 27);  // at most 241
        const float pixel = variant % 2 == 0 ? bright : bright * 0.5f;
        const size_t at = recipe.layout == TensorLayout::kNchw
                              ? (size_t{static_cast<size_t>(c)} * height + y) * width + x
                              : (size_t{static_cast<size_t>(y)} * width + x) * 3 + c;
        tensor[at] = (pixel - recipe.mean[c]) * recipe.scale[c];
      }
    }
  }
  return tensor;
}

}  // namespace sightline
