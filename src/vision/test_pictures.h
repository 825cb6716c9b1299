// Pictures of every format for tests, and their BGR as OpenCV makes it.
#pragma once

#include <algorithm>
#include <cmath>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <random>
#include <vector>

#include "types/frame.h"
#include "vision/image_check.h"

namespace sightline {

inline constexpr PixelFormat kFormats[] = {
    PixelFormat::kI420,  PixelFormat::kI422,  PixelFormat::kI444, PixelFormat::kNv12,
    PixelFormat::kBgr24, PixelFormat::kRgb24, PixelFormat::kGray8};

// A picture with its own memory: each plane exactly as long as stride * (rows - 1) + row, so that a
// sanitizer sees reads beyond it.
struct Picture {
  ImageView view;
  std::vector<uint8_t> planes[3];
};

enum class Content { kNoise, kSmooth, kEdges };

inline Picture MakePicture(std::mt19937& random, PixelFormat format, int width, int height,
                           Content content) {
  Picture picture;
  ImageView& view = picture.view;
  view.format = format;
  view.width = width;
  view.height = height;
  const double fx = 0.02 + random() % 100 * 0.002, fy = 0.02 + random() % 100 * 0.002;
  for (int p = 0; p < PlaneCount(format); ++p) {
    const int row = PlaneRowBytes(format, p, width);
    const int rows = PlaneRows(format, p, height);
    view.strides[p] = row + static_cast<int>(random() % 40);
    std::vector<uint8_t>& bytes = picture.planes[p];
    bytes.assign(static_cast<size_t>(view.strides[p]) * (rows - 1) + row, 0xEE);
    for (int y = 0; y < rows; ++y) {
      for (int x = 0; x < row; ++x) {
        double v = 0;
        switch (content) {
          case Content::kNoise:
            v = random() % 256;
            break;
          case Content::kSmooth:
            v = 128 + 60 * std::sin(x * fx + p) + 60 * std::cos(y * fy + x % 3) + random() % 5;
            break;
          case Content::kEdges:
            v = ((x / 7 + y / 5 + p) % 3) * 127 + random() % 3;
            break;
        }
        bytes[static_cast<size_t>(y) * view.strides[p] + x] =
            static_cast<uint8_t>(std::clamp(v, 0.0, 255.0));
      }
    }
    view.planes[p] = bytes.data();
  }
  return picture;
}

// BGR from the definitions in floating point, for what cv::cvtColor does not know.
inline cv::Mat BgrByDefinition(const ImageView& v) {
  cv::Mat bgr(v.height, v.width, CV_8UC3);
  const bool is709 = v.matrix == ColorMatrix::kBt709, limited = v.range == ColorRange::kLimited;
  const double kr = is709 ? 0.2126 : 0.299, kb = is709 ? 0.0722 : 0.114, kg = 1 - kr - kb;
  const bool down = v.format == PixelFormat::kI420 || v.format == PixelFormat::kNv12;
  const bool across = down || v.format == PixelFormat::kI422;
  for (int y = 0; y < v.height; ++y) {
    for (int x = 0; x < v.width; ++x) {
      const int cx = across ? x / 2 : x, cy = down ? y / 2 : y;
      const double luma = v.planes[0][y * v.strides[0] + x];
      const bool nv12 = v.format == PixelFormat::kNv12;
      const double u = v.planes[1][cy * v.strides[1] + (nv12 ? 2 * cx : cx)] - 128.0;
      const double w = (nv12 ? v.planes[1][cy * v.strides[1] + 2 * cx + 1]
                             : v.planes[2][cy * v.strides[2] + cx]) -
                       128.0;
      const double l = limited ? std::max(0.0, luma - 16) * 255 / 219 : luma;
      const double s = limited ? 255.0 / 224 : 1.0;
      const double r = l + 2 * (1 - kr) * s * w, b = l + 2 * (1 - kb) * s * u;
      const double g = l - 2 * (1 - kb) * kb / kg * s * u - 2 * (1 - kr) * kr / kg * s * w;
      bgr.at<cv::Vec3b>(y, x) = {cv::saturate_cast<uint8_t>(b), cv::saturate_cast<uint8_t>(g),
                                 cv::saturate_cast<uint8_t>(r)};
    }
  }
  return bgr;
}

inline cv::Mat Plane(const ImageView& v, int p, int type) {
  const int bytes = PlaneRowBytes(v.format, p, v.width);
  return cv::Mat(PlaneRows(v.format, p, v.height), bytes / CV_ELEM_SIZE(type), type,
                 const_cast<uint8_t*>(v.planes[p]), v.strides[p]);
}

// Whether cv::cvtColor itself makes this picture's BGR.
inline bool OpenCvKnows(const ImageView& v) {
  if (!IsYuv(v.format)) return true;
  return (v.format == PixelFormat::kI420 || v.format == PixelFormat::kNv12) &&
         v.matrix == ColorMatrix::kBt601 && v.range == ColorRange::kLimited;
}

inline cv::Mat ChainBgr(const ImageView& v) {
  cv::Mat bgr;
  if (v.format == PixelFormat::kBgr24) return Plane(v, 0, CV_8UC3);
  if (v.format == PixelFormat::kRgb24) {
    cv::cvtColor(Plane(v, 0, CV_8UC3), bgr, cv::COLOR_RGB2BGR);
    return bgr;
  }
  if (v.format == PixelFormat::kGray8) {
    cv::cvtColor(Plane(v, 0, CV_8UC1), bgr, cv::COLOR_GRAY2BGR);
    return bgr;
  }
  if (!OpenCvKnows(v)) return BgrByDefinition(v);
  // OpenCV takes even sizes only: repeat the last column and row, and cut them off again.
  const int w = (v.width + 1) / 2 * 2, h = (v.height + 1) / 2 * 2;
  cv::Mat luma;
  cv::copyMakeBorder(Plane(v, 0, CV_8UC1), luma, 0, h - v.height, 0, w - v.width,
                     cv::BORDER_REPLICATE);
  if (v.format == PixelFormat::kNv12) {
    cv::cvtColorTwoPlane(luma, Plane(v, 1, CV_8UC2), bgr, cv::COLOR_YUV2BGR_NV12);
  } else {
    cv::Mat packed(h * 3 / 2, w, CV_8UC1);
    luma.copyTo(packed.rowRange(0, h));
    uint8_t* next = packed.ptr(h);
    for (int p = 1; p < 3; ++p) {
      for (int y = 0; y < h / 2; ++y, next += w / 2) {
        std::copy_n(v.planes[p] + y * v.strides[p], w / 2, next);
      }
    }
    cv::cvtColor(packed, bgr, cv::COLOR_YUV2BGR_I420);
  }
  return bgr(cv::Rect(0, 0, v.width, v.height)).clone();
}

}  // namespace sightline
