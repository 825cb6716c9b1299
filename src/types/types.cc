#include <fmt/format.h>
#include <fmt/ranges.h>

#include "types/camera.h"
#include "types/event.h"
#include "types/frame.h"
#include "types/tensor.h"

namespace sightline {

std::string_view ToString(PixelFormat format) {
  switch (format) {
    case PixelFormat::kI420:
      return "i420";
    case PixelFormat::kI422:
      return "i422";
    case PixelFormat::kI444:
      return "i444";
    case PixelFormat::kNv12:
      return "nv12";
    case PixelFormat::kBgr24:
      return "bgr24";
    case PixelFormat::kRgb24:
      return "rgb24";
    case PixelFormat::kGray8:
      return "gray8";
  }
  return "unknown";
}

std::string_view ToString(ClockSource source) {
  switch (source) {
    case ClockSource::kConfigured:
      return "configured";
    case ClockSource::kContainer:
      return "container";
    case ClockSource::kEpoch:
      return "epoch";
    case ClockSource::kSender:
      return "sender";
    case ClockSource::kArrival:
      return "arrival";
  }
  return "unknown";
}

std::string_view ToString(CameraState state) {
  switch (state) {
    case CameraState::kConnecting:
      return "connecting";
    case CameraState::kLive:
      return "live";
    case CameraState::kStalled:
      return "stalled";
    case CameraState::kFrozen:
      return "frozen";
    case CameraState::kBackingOff:
      return "backing_off";
    case CameraState::kEnded:
      return "ended";
    case CameraState::kFailed:
      return "failed";
  }
  return "unknown";
}

std::string_view ToString(EventKind kind) {
  switch (kind) {
    case EventKind::kZoneEnter:
      return "zone_enter";
    case EventKind::kZoneExit:
      return "zone_exit";
    case EventKind::kLineCross:
      return "line_cross";
  }
  return "unknown";
}

size_t SizeOf(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return 4;
    case DataType::kFloat16:
      return 2;
    case DataType::kUint8:
      return 1;
    case DataType::kInt64:
      return 8;
    case DataType::kInt32:
      return 4;
    case DataType::kBool:
    case DataType::kInt8:
      return 1;
    case DataType::kInt16:
    case DataType::kUint16:
    case DataType::kBfloat16:
      return 2;
    case DataType::kUint32:
      return 4;
    case DataType::kUint64:
    case DataType::kFloat64:
      return 8;
    case DataType::kString:
    case DataType::kOther:
      return 0;
  }
  return 0;
}

std::string_view ToString(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return "float32";
    case DataType::kFloat16:
      return "float16";
    case DataType::kUint8:
      return "uint8";
    case DataType::kInt64:
      return "int64";
    case DataType::kInt32:
      return "int32";
    case DataType::kBool:
      return "bool";
    case DataType::kInt8:
      return "int8";
    case DataType::kInt16:
      return "int16";
    case DataType::kUint16:
      return "uint16";
    case DataType::kUint32:
      return "uint32";
    case DataType::kUint64:
      return "uint64";
    case DataType::kFloat64:
      return "float64";
    case DataType::kBfloat16:
      return "bfloat16";
    case DataType::kString:
      return "string";
    case DataType::kOther:
      return "other";
  }
  return "unknown";
}

std::string ToString(const TensorInfo& info) {
  return fmt::format("{} {}[{}]", info.name, ToString(info.dtype), fmt::join(info.shape, ","));
}

}  // namespace sightline
