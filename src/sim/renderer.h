// The scene as a picture and as truth.
//
// The picture: I420, BT.601, limited range, 8 bits. Painted from far to near over a backdrop that is
// made once; runs of pixels have exact ends (smooth edges left and right), limbs are shaded, cloth
// has texture, everybody throws a shadow, and the sensor adds noise. The truth comes from the same
// runs: every pixel remembers the nearest figure whose run covers its middle, so that the visible
// fraction is what is really seen. With `pixels` off only the masks are made, and the truth is the
// same to the bit.
//
// Objects of which fewer than 4 px of outline are within the picture are not in the truth.
//
// Threads: one. Memory: the masks (2 bytes a pixel) and 6 times a picture for the backdrop; nothing
// is allocated after the constructor, but in a Truth that is used for the first time. Cost: benchmarks/sim_bench.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sim/backdrop.h"
#include "sim/figure.h"
#include "sim/scene.h"
#include "types/frame.h"
#include "types/truth.h"

namespace sightline::sim {

// Pixels to draw on, I420.
struct Canvas {
  int width = 0;
  int height = 0;
  std::array<uint8_t*, 3> planes{};
  std::array<int, 3> strides{};
};

class Renderer {
 public:
  // Pictures of width x height px, which may be another size than the options' own: the street
  // stays as wide as it is there. `backdrop` of an earlier renderer of the same options and size
  // spares making it again; null: made here, unless pixels are off.
  Renderer(const SimOptions& options, int width, int height, bool pixels,
           std::shared_ptr<const Backdrop> backdrop = nullptr);

  // Draws the world of `time_us` of the camera's life. `canvas` has the size given at the start and
  // may be null: then only the truth is made.
  void Draw(int64_t time_us, const Canvas* canvas, Truth* truth);

  const std::shared_ptr<const Backdrop>& backdrop() const { return backdrop_; }
  // Of the last Draw(): 0 where the street shows, else 1 + the place in the truth's objects of who
  // does. Row after row, width x height. For tests and for training data.
  std::vector<uint16_t> Masks(const Truth& truth) const;

 private:
  struct Drawn {
    Figure figure;
    uint32_t outline_px = 0;  // within the picture
    uint32_t visible_px = 0;
  };
  void Collect(int64_t time_us);
  void PaintBackdrop(const Canvas& canvas);
  void PaintShadow(const Shape& shape, const Canvas& canvas);
  void PaintRun(const Part& part, const Figure& figure, int row, double from, double to,
                const Canvas& canvas);
  void PaintFigure(uint16_t number, const Canvas* canvas);
  void CountVisible(Drawn* drawn, uint16_t number) const;
  void Tell(Truth* truth) const;
  void AddNoise(int64_t time_us, const Canvas& canvas);

  const SimOptions options_;
  const int width_;
  const int height_;
  View view_;  // of a camera that does not tremble
  View shaken_view_;
  Scene::Shift shift_;
  Scene scene_;
  std::shared_ptr<const Backdrop> backdrop_;
  size_t most_figures_ = 0;
  std::vector<Actor> actors_;
  std::vector<Part> parts_;
  std::vector<Drawn> drawn_;  // farthest first; number in the masks: 1 + the index
  std::vector<uint16_t> masks_;
  std::vector<int8_t> grain_;   // texture of cloth, 64 x 64
  std::vector<uint8_t> noise_;  // of the sensor, to be added modulo 256
};

}  // namespace sightline::sim
