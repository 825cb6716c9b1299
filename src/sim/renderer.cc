#include "sim/renderer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "sim/chance.h"

namespace sightline::sim {
namespace {

constexpr double kHorizon = 0.22;      // of the picture's height, from above
constexpr int kGrainSide = 64;         // px
constexpr size_t kNoiseBytes = 16384;  // where a row's noise begins; rows take what follows
constexpr uint32_t kLeastOutlinePx = 4;
constexpr int kBlack = 16;
constexpr int kWhite = 235;

View ViewOf(const SimOptions& options, int width, int height) {
  return {.focal_px = static_cast<double>(options.height) * width / options.width,
          .middle_x = 0.5 * width,
          .horizon_y = kHorizon * height};
}

// Four uniform numbers make a bell.
double Bell(Chance& chance) {
  double sum = -2;
  for (int i = 0; i < 4; ++i) sum += chance.Between(0, 1);
  return sum * 1.7320508;  // standard deviation 1
}

}  // namespace

Renderer::Renderer(const SimOptions& options, int width, int height, bool pixels,
                   std::shared_ptr<const Backdrop> backdrop)
    : options_(options),
      width_(width),
      height_(height),
      view_(ViewOf(options, width, height)),
      shaken_view_(view_),
      scene_(options),
      backdrop_(std::move(backdrop)),
      masks_(static_cast<size_t>(width) * static_cast<size_t>(height)) {
  most_figures_ = scene_.most_actors() + kStreetFurniture;
  actors_.reserve(most_figures_);
  drawn_.reserve(most_figures_);
  parts_.reserve(most_figures_ * kMostParts);
  if (!pixels) return;
  if (backdrop_ == nullptr) backdrop_ = MakeBackdrop(options_, view_, width_, height_);
  Chance chance(Mix(options_.seed, 41));
  grain_.resize(kGrainSide * kGrainSide);
  for (int8_t& g : grain_) g = static_cast<int8_t>(Round(Clamp(42 * Bell(chance), -127, 127)));
  // Chosen by the look of street cameras: hardly any by day, coarse at night.
  const double sigma = 1.3 + 4.5 * options_.night;
  noise_.resize(kNoiseBytes + static_cast<size_t>(width_));
  for (uint8_t& n : noise_) n = static_cast<uint8_t>(Round(Clamp(sigma * Bell(chance), -15, 15)));
}

void Renderer::Collect(int64_t time_us) {
  scene_.ActorsAt(time_us, &actors_);
  shift_ = scene_.ShakeAt(time_us);
  shaken_view_ = view_;
  shaken_view_.middle_x += shift_.x;
  shaken_view_.horizon_y += shift_.y;
  parts_.clear();
  drawn_.clear();
  for (int i = 0; i < kStreetFurniture; ++i) {
    drawn_.push_back({.figure = DrawFurniture(i, shaken_view_, options_.night, &parts_)});
  }
  for (const Actor& actor : actors_) {
    const double light = LightAt(actor.x, actor.z, options_.night);
    drawn_.push_back({.figure = DrawFigure(actor, shaken_view_, light, &parts_)});
  }
  std::sort(drawn_.begin(), drawn_.end(), [](const Drawn& a, const Drawn& b) {
    return a.figure.z != b.figure.z ? a.figure.z > b.figure.z : a.figure.id < b.figure.id;
  });
}

void Renderer::PaintBackdrop(const Canvas& canvas) {
  const Backdrop& from = *backdrop_;
  for (int p = 0; p < 3; ++p) {
    const int half = p == 0 ? 0 : 1;
    const int stride = p == 0 ? from.width : from.chroma_width();
    const int left = (from.margin - shift_.x) >> half;
    const int top = (from.margin - shift_.y) >> half;
    const int rows = PlaneRows(PixelFormat::kI420, p, height_);
    const auto bytes = static_cast<size_t>(PlaneRowBytes(PixelFormat::kI420, p, width_));
    const auto plane = static_cast<size_t>(p);
    for (int y = 0; y < rows; ++y) {
      std::memcpy(canvas.planes[plane] + static_cast<int64_t>(y) * canvas.strides[plane],
                  from.planes[plane].data() + static_cast<int64_t>(y + top) * stride + left, bytes);
    }
  }
}

void Renderer::PaintShadow(const Shape& shape, const Canvas& canvas) {
  // 256 = no shadow.
  const int depth = static_cast<int>(Round(256 * (0.40 * (1 - options_.night) + 0.12)));
  ForEachRun(shape, height_, [&](int row, double from, double to) {
    if (to <= 0 || from >= width_) return;
    uint8_t* const y = canvas.planes[0] + static_cast<int64_t>(row) * canvas.strides[0];
    const auto first = static_cast<int>(Floor(Clamp(from, 0, width_)));
    const auto last = static_cast<int>(Floor(Clamp(to, 0, width_ - 1)));
    for (int x = first; x <= last; ++x) {
      const double covered = std::min(to, x + 1.0) - std::max(from, static_cast<double>(x));
      const int keep = 256 - static_cast<int>(depth * covered);
      y[x] = static_cast<uint8_t>(kBlack + (((y[x] - kBlack) * keep) >> 8));
    }
  });
}

void Renderer::PaintRun(const Part& part, const Figure& figure, int row, double from, double to,
                        const Canvas& canvas) {
  if (to <= 0 || from >= width_) return;
  const Paint& paint = part.paint;
  // Texture and stripes go with the figure, not with the picture.
  const int origin_x = static_cast<int>(Floor(figure.bounds.x1));
  const int origin_y = static_cast<int>(Floor(figure.bounds.y1));
  int base = paint.colour.y;
  if (paint.stripe_px > 0 && ((row - origin_y) / paint.stripe_px) % 2 == 0) {
    base += paint.stripe_luma;
  }
  const auto first = static_cast<int>(Floor(Clamp(from, 0, width_)));
  const auto last = static_cast<int>(Floor(Clamp(to, 0, width_ - 1)));
  // Luma falls from left to right over the run; 8 bits of fraction.
  const double step = to - from > 1 ? -2.0 * paint.shade / (to - from) : 0;
  int shade = static_cast<int>(Round(256 * (paint.shade + step * (first + 0.5 - from))));
  const auto shade_step = static_cast<int>(Round(256 * step));
  const int8_t* const grain =
      grain_.data() + (static_cast<unsigned>(row - origin_y) % kGrainSide) * kGrainSide;
  uint8_t* const y = canvas.planes[0] + static_cast<int64_t>(row) * canvas.strides[0];
  for (int x = first; x <= last; ++x) {
    const int texture =
        (grain[static_cast<unsigned>(x - origin_x) % kGrainSide] * paint.grain) >> 6;
    const int luma = std::clamp(base + (shade >> 8) + texture, kBlack, kWhite);
    shade += shade_step;
    if (x > first && x < last) {
      y[x] = static_cast<uint8_t>(luma);
      continue;
    }
    const double covered = std::min(to, x + 1.0) - std::max(from, static_cast<double>(x));
    y[x] = static_cast<uint8_t>(y[x] + static_cast<int>(Round(covered * (luma - y[x]))));
  }
  if (row % 2 != 0) return;
  // A chroma sample belongs to the upper left of its four pixels.
  const auto c_first = static_cast<int>((Floor(Clamp(from - 0.5, -1, width_)) + 2) / 2);
  const auto c_last = static_cast<int>((Floor(Clamp(to - 0.5, -1, width_ - 1)) + 2) / 2);
  if (c_last <= c_first) return;
  const auto bytes = static_cast<size_t>(c_last - c_first);
  std::memset(canvas.planes[1] + static_cast<int64_t>(row / 2) * canvas.strides[1] + c_first,
              paint.colour.u, bytes);
  std::memset(canvas.planes[2] + static_cast<int64_t>(row / 2) * canvas.strides[2] + c_first,
              paint.colour.v, bytes);
}

void Renderer::PaintFigure(uint16_t number, const Canvas* canvas) {
  Drawn& drawn = drawn_[number - 1U];
  const Figure& figure = drawn.figure;
  if (figure.bounds.x2 <= 0 || figure.bounds.x1 >= width_ || figure.bounds.y2 <= 0 ||
      figure.bounds.y1 >= height_) {
    return;
  }
  for (size_t i = figure.first; i < figure.last; ++i) {
    ForEachRun(parts_[i].shape, height_, [&](int row, double from, double to) {
      // Pixels whose middles are covered.
      const auto first = static_cast<int>(Floor(Clamp(from - 0.5, -1, width_))) + 1;
      const auto last = static_cast<int>(Floor(Clamp(to - 0.5, -1, width_ - 1)));
      uint16_t* const mask = masks_.data() + static_cast<size_t>(row) * static_cast<size_t>(width_);
      uint32_t fresh = 0;
      for (int x = first; x <= last; ++x) {
        fresh += mask[x] != number ? 1 : 0;
        mask[x] = number;
      }
      drawn.outline_px += fresh;
      if (canvas != nullptr) PaintRun(parts_[i], figure, row, from, to, *canvas);
    });
  }
}

void Renderer::CountVisible(Drawn* drawn, uint16_t number) const {
  const Extent& b = drawn->figure.bounds;
  const auto left = static_cast<int>(Floor(Clamp(b.x1, 0, width_)));
  const auto right = std::min(width_, static_cast<int>(Floor(Clamp(b.x2, 0, width_))) + 1);
  const auto top = static_cast<int>(Floor(Clamp(b.y1, 0, height_)));
  const auto bottom = std::min(height_, static_cast<int>(Floor(Clamp(b.y2, 0, height_))) + 1);
  uint32_t count = 0;
  for (int y = top; y < bottom; ++y) {
    const uint16_t* const mask =
        masks_.data() + static_cast<size_t>(y) * static_cast<size_t>(width_);
    for (int x = left; x < right; ++x) count += mask[x] == number ? 1 : 0;
  }
  drawn->visible_px = count;
}

void Renderer::Tell(Truth* truth) const {
  truth->objects.clear();
  truth->objects.reserve(most_figures_);
  for (const Drawn& drawn : drawn_) {
    const Figure& figure = drawn.figure;
    if (figure.id == 0 || drawn.outline_px < kLeastOutlinePx) continue;
    TruthObject object;
    object.id = figure.id;
    object.riding = figure.kind == ActorKind::kRider;
    object.object_class = figure.kind == ActorKind::kBicycle ? TruthClass::kBicycle
                          : figure.kind == ActorKind::kCar   ? TruthClass::kCar
                                                             : TruthClass::kPerson;
    object.box_px = {static_cast<float>(Clamp(figure.bounds.x1, 0, width_)),
                     static_cast<float>(Clamp(figure.bounds.y1, 0, height_)),
                     static_cast<float>(Clamp(figure.bounds.x2, 0, width_)),
                     static_cast<float>(Clamp(figure.bounds.y2, 0, height_))};
    object.visible = static_cast<float>(static_cast<double>(drawn.visible_px) /
                                        static_cast<double>(drawn.outline_px));
    truth->objects.push_back(object);
  }
  std::sort(truth->objects.begin(), truth->objects.end(),
            [](const TruthObject& a, const TruthObject& b) { return a.id < b.id; });
}

void Renderer::AddNoise(int64_t time_us, const Canvas& canvas) {
  // By day the chroma of a camera is smoothed until nothing is left of its noise.
  const int planes = options_.night > 0.3 ? 3 : 1;
  for (int p = 0; p < planes; ++p) {
    const auto plane = static_cast<size_t>(p);
    const int rows = PlaneRows(PixelFormat::kI420, p, height_);
    const int bytes = PlaneRowBytes(PixelFormat::kI420, p, width_);
    for (int y = 0; y < rows; ++y) {
      const uint8_t* const noise =
          noise_.data() +
          Mix(static_cast<uint64_t>(time_us), options_.seed, static_cast<uint64_t>(p * 65536 + y)) %
              kNoiseBytes;
      uint8_t* const row = canvas.planes[plane] + static_cast<int64_t>(y) * canvas.strides[plane];
      // Samples are 16..240 and noise is -15..15, so that nothing wraps.
      for (int x = 0; x < bytes; ++x) row[x] = static_cast<uint8_t>(row[x] + noise[x]);
    }
  }
}

void Renderer::Draw(int64_t time_us, const Canvas* canvas, Truth* truth) {
  if (backdrop_ == nullptr) canvas = nullptr;
  Collect(time_us);
  std::fill(masks_.begin(), masks_.end(), uint16_t{0});
  if (canvas != nullptr) {
    PaintBackdrop(*canvas);
    for (const Drawn& drawn : drawn_) PaintShadow(drawn.figure.shadow, *canvas);
  }
  for (size_t i = 0; i < drawn_.size(); ++i) PaintFigure(static_cast<uint16_t>(i + 1), canvas);
  for (size_t i = 0; i < drawn_.size(); ++i) {
    CountVisible(&drawn_[i], static_cast<uint16_t>(i + 1));
  }
  truth->seed = options_.seed;
  truth->time_us = time_us;
  Tell(truth);
  if (canvas != nullptr) AddNoise(time_us, *canvas);
}

std::vector<uint16_t> Renderer::Masks(const Truth& truth) const {
  std::vector<uint16_t> place(drawn_.size() + 1, 0);
  for (size_t i = 0; i < drawn_.size(); ++i) {
    for (size_t k = 0; k < truth.objects.size(); ++k) {
      if (truth.objects[k].id == drawn_[i].figure.id) place[i + 1] = static_cast<uint16_t>(k + 1);
    }
  }
  std::vector<uint16_t> masks(masks_.size());
  for (size_t i = 0; i < masks_.size(); ++i) masks[i] = place[masks_[i]];
  return masks;
}

}  // namespace sightline::sim
