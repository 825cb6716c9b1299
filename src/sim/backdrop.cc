#include "sim/backdrop.h"

#include <algorithm>
#include <cmath>

#include "sim/chance.h"

namespace sightline::sim {
namespace {

struct Rgb {
  double r = 0, g = 0, b = 0;
  Rgb operator*(double f) const { return {r * f, g * f, b * f}; }
  Rgb operator+(const Rgb& o) const { return {r + o.r, g + o.g, b + o.b}; }
};
Rgb Between(const Rgb& a, const Rgb& b, double part) { return a * (1 - part) + b * part; }

// Smooth noise in -1 .. 1 over a plane; one bump a unit.
double Noise(double x, double y, uint64_t seed) {
  const int64_t ix = Floor(x);
  const int64_t iy = Floor(y);
  const auto at = [&](int64_t dx, int64_t dy) {
    return 2 * Unit(Mix(seed, static_cast<uint64_t>(ix + dx), static_cast<uint64_t>(iy + dy))) - 1;
  };
  double fx = x - static_cast<double>(ix);
  double fy = y - static_cast<double>(iy);
  fx = fx * fx * (3 - 2 * fx);
  fy = fy * fy * (3 - 2 * fy);
  const double top = at(0, 0) * (1 - fx) + at(1, 0) * fx;
  const double bottom = at(0, 1) * (1 - fx) + at(1, 1) * fx;
  return top * (1 - fy) + bottom * fy;
}

double Fraction(double x) { return x - static_cast<double>(Floor(x)); }

constexpr Rgb kFacades[] = {{168, 104, 82},  {206, 190, 158}, {150, 146, 140},
                            {196, 158, 108}, {126, 92, 80},   {182, 180, 172}};
constexpr Rgb kSigns[] = {{150, 32, 36}, {28, 66, 120}, {34, 92, 60}, {188, 140, 36}, {60, 44, 76}};

class Street {
 public:
  Street(const SimOptions& options, const View& view)
      : seed_(Mix(options.seed, 31)), night_(options.night), view_(view) {}

  // The colour of a point of the picture, px, and the light on it.
  Rgb At(double u, double v) const {
    const double below = v - view_.horizon_y;
    const double wall_below = view_.focal_px * kCameraHeight / kWall;
    if (below < wall_below) {
      const double x = (u - view_.middle_x) * kWall / view_.focal_px;
      const double height = kCameraHeight - below * kWall / view_.focal_px;
      return Wall(x, height);
    }
    const double z = view_.focal_px * kCameraHeight / below;
    const double x = (u - view_.middle_x) * z / view_.focal_px;
    return Shade(Ground(x, z), LightAt(x, z, night_));
  }

 private:
  static Rgb Shade(const Rgb& c, double light) { return c * light; }

  Rgb Ground(double x, double z) const {
    const double patches =
        Noise(x * 0.35, z * 0.5, seed_ + 1) * 0.07 + Noise(x * 1.7, z * 2.3, seed_ + 2) * 0.04;
    const double grain = Noise(x * 17, z * 17, seed_ + 3) * 0.05;
    const double worn = 1 + patches + grain;
    if (z > kFarKerb && z < kFarKerb + 0.3) return Rgb{156, 154, 148} * worn;
    if (z < kNearKerb && z > kNearKerb - 0.25) return Rgb{160, 158, 152} * worn;
    if (z >= kFarKerb || z <= kNearKerb) return Pavement(x, z) * worn;
    return Road(x, z) * worn;
  }

  Rgb Pavement(double x, double z) const {
    constexpr double kTile = 0.6;  // m
    const int64_t row = Floor(z / kTile);
    const double offset = (row % 2 == 0) ? 0 : 0.5;
    const double column = x / kTile + offset;
    const double tone = 1 + 0.06 * (2 * Unit(Mix(seed_ + 4, static_cast<uint64_t>(row),
                                                 static_cast<uint64_t>(Floor(column)))) -
                                    1);
    const double joint_x = Fraction(column);
    const double joint_z = Fraction(z / kTile);
    const bool joint = joint_x < 0.03 || joint_z < 0.05;
    return Rgb{142, 138, 130} * (joint ? 0.78 : tone);
  }

  Rgb Road(double x, double z) const {
    Rgb asphalt{82, 83, 86};
    // Tyres polish two tracks in each lane.
    for (const double track : {10.5, 11.9, 13.7, 15.1}) {
      const double d = (z - track) / 0.35;
      if (d > -1 && d < 1) asphalt = asphalt * (1 - 0.09 * (1 - d * d));
    }
    const double wear = 0.86 + 0.14 * Noise(x * 3.1, z * 3.7, seed_ + 5);
    const Rgb white = Rgb{212, 210, 202} * wear;
    if (x > kZebraLeft && x < kZebraRight) {
      return Fraction((z - kNearKerb - 0.3) / 1.1) < 0.5 ? white : asphalt;
    }
    if (z > 12.82 && z < 12.98 && Fraction(x / 3.0) < 0.5) return white;
    if ((z > 9.95 && z < 10.05) || (z > 15.75 && z < 15.85)) return Between(asphalt, white, 0.55);
    // A manhole.
    const double dx = x + 4.2;
    const double dz = z - 11.3;
    const double d2 = dx * dx + dz * dz;
    if (d2 < 0.12) return asphalt * (d2 > 0.09 ? 0.6 : 0.82);
    return asphalt;
  }

  // The houses: `x` and `height` in metres on the wall.
  Rgb Wall(double x, double height) const {
    constexpr double kHouse = 7.5;  // m wide
    const int64_t house = Floor(x / kHouse);
    const uint64_t look = Mix(seed_ + 6, static_cast<uint64_t>(house));
    const double in = x - static_cast<double>(house) * kHouse;
    const Rgb facade = kFacades[look % std::size(kFacades)];
    const double dirt = 1 + 0.05 * Noise(x * 0.8, height * 0.9, seed_ + 7) +
                        0.04 * Noise(x * 9, height * 14, seed_ + 8) -
                        0.1 * Clamp(0.5 - height, 0, 0.5);
    const double glow = LightAt(x, kWall, night_);
    const double light = glow * Clamp(1.0 - 0.03 * night_ * height, 0.4, 1);
    if (in < 0.12 || in > kHouse - 0.12) return facade * (0.7 * light);
    if (height < 3.3) return Shop(x, in, height, look, light);
    // Upper floors: a row of windows every 3 m.
    const double floor = Fraction((height - 3.3) / 3.0) * 3.0;
    const double column = Fraction(in / 2.5) * 2.5;
    const double courses = Fraction(height / 0.3) < 0.12 ? 0.95 : 1.0;
    if (floor > 0.72 && floor < 2.5 && column > 0.6 && column < 1.9) {
      const bool frame = floor < 0.8 || floor > 2.42 || column < 0.68 || column > 1.82 ||
                         (column > 1.22 && column < 1.28);
      if (frame) return Rgb{222, 220, 212} * light;
      const uint64_t window = Mix(look, static_cast<uint64_t>(Floor(in / 2.5)),
                                  static_cast<uint64_t>(Floor((height - 3.3) / 3.0)));
      return Glass(floor / 3.0, window, light, {255, 214, 140});
    }
    if (floor > 0.6 && floor <= 0.72 && column > 0.5 && column < 2.0)
      return Rgb{190, 186, 176} * light;
    if (floor < 0.12) return facade * (0.82 * light);
    return facade * (dirt * courses * light);
  }

  Rgb Shop(double x, double in, double height, uint64_t look, double light) const {
    const Rgb sign = kSigns[(look >> 8) % std::size(kSigns)];
    if (height > 2.75) {
      const bool letters = height > 2.9 && height < 3.12 && in > 1.6 && in < 5.6 &&
                           Unit(Mix(look, static_cast<uint64_t>(Floor(in / 0.16)))) < 0.62;
      const double lit = light + night_ * 0.35;
      return (letters ? Rgb{236, 230, 214} : sign) * Clamp(lit, 0, 1);
    }
    if (in > 5.5 && in < 6.6) {  // a door
      const bool frame = in < 5.58 || in > 6.52 || height > 2.4;
      const Rgb wood = Rgb{86, 58, 40} * (1 + 0.06 * Noise(x * 30, height * 2, seed_ + 9));
      return (frame ? Rgb{60, 52, 46} : wood) * light;
    }
    if (height < 0.55 || in < 0.45 || (in > 5.2 && in < 5.5) || in > 6.9) {
      return Rgb{112, 104, 96} * (light * (1 + 0.05 * Noise(x * 6, height * 6, seed_ + 10)));
    }
    const double pane = Fraction((in - 0.45) / 1.6);
    if (pane < 0.04 || height < 0.62 || height > 2.68) return Rgb{48, 46, 46} * light;
    return Glass(height / 2.75, Mix(look, 3), light, {255, 226, 170});
  }

  // Dark, with a reflection of the sky; some are lit from inside at night.
  Rgb Glass(double up, uint64_t window, double light, const Rgb& lamp) const {
    const double tone = 0.75 + 0.5 * Unit(window);
    const Rgb day = Between({44, 52, 60}, {126, 144, 160}, Clamp(up * 0.9, 0, 1)) * (tone * light);
    const bool is_on = Unit(Mix(window, 8)) < 0.45;
    return is_on ? Between(day, lamp * (0.75 + 0.2 * up), 0.85 * night_) : day;
  }

  const uint64_t seed_;
  const double night_;
  const View& view_;
};

uint8_t Byte(int16_t value) { return static_cast<uint8_t>(std::clamp<int16_t>(value, 16, 235)); }

}  // namespace

std::shared_ptr<const Backdrop> MakeBackdrop(const SimOptions& options, const View& view, int width,
                                             int height) {
  auto made = std::make_shared<Backdrop>();
  const auto shake = static_cast<int>(Round(options.shake_px));
  made->margin = (shake + 2) / 2 * 2;
  made->width = width + 2 * made->margin;
  made->height = height + 2 * made->margin;
  const int chroma_width = made->chroma_width();
  const int chroma_height = (made->height + 1) / 2;
  const auto chroma_size = static_cast<size_t>(chroma_width) * static_cast<size_t>(chroma_height);
  made->planes[0].resize(static_cast<size_t>(made->width) * static_cast<size_t>(made->height));
  made->planes[1].resize(chroma_size);
  made->planes[2].resize(chroma_size);
  const Street street(options, view);
  // Two by two samples a pixel, except in large pictures, whose pixels are fine enough.
  const int samples = static_cast<int64_t>(width) * height <= 1'500'000 ? 2 : 1;
  for (int y = 0; y < made->height; ++y) {
    for (int x = 0; x < made->width; ++x) {
      Rgb sum;
      for (int s = 0; s < samples * samples; ++s) {
        const double u = x - made->margin + (s % samples + 0.5) / samples;
        const double v = y - made->margin + (s / samples + 0.5) / samples;
        sum = sum + street.At(u, v);
      }
      sum = sum * (1.0 / (samples * samples));
      const Colour c =
          FromRgb(std::min(sum.r, 255.0), std::min(sum.g, 255.0), std::min(sum.b, 255.0));
      made->planes[0][static_cast<size_t>(y) * static_cast<size_t>(made->width) +
                      static_cast<size_t>(x)] = Byte(c.y);
      if (x % 2 != 0 || y % 2 != 0) continue;
      const size_t at = static_cast<size_t>(y / 2) * static_cast<size_t>(chroma_width) +
                        static_cast<size_t>(x / 2);
      made->planes[1][at] = Byte(c.u);
      made->planes[2][at] = Byte(c.v);
    }
  }
  return made;
}

}  // namespace sightline::sim
