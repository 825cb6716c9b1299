// Somebody of the scene as shapes in the picture, with their colours: people with head, hair, torso,
// arms and legs that swing, bicycles, cars, and what stands in the street.
//
// Threads: reentrant. Cost: about 1 us a figure.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/scene.h"
#include "sim/shape.h"

namespace sightline::sim {

struct Colour {  // BT.601, limited range
  int16_t y = 128;
  int16_t u = 128;
  int16_t v = 128;
};
Colour FromRgb(double r, double g, double b);  // 0 .. 255
// The colour under light of this strength (1 = day).
Colour Lit(Colour colour, double light);

struct Paint {
  Colour colour;
  int16_t shade = 0;        // luma added at the left end of a run and taken at the right end
  int16_t grain = 0;        // luma of the texture, either way
  int16_t stripe_luma = 0;  // of every second stripe
  int16_t stripe_px = 0;    // height of a stripe; 0 = none
};

struct Part {
  Shape shape;
  Paint paint;
};

// How the ground shows in the picture: px = middle + focal * x / z, and so on.
struct View {
  double focal_px = 360;
  double middle_x = 320;
  double horizon_y = 79;
  PointD ToPicture(double x, double height, double z) const {
    return {middle_x + focal_px * x / z, horizon_y + focal_px * (kCameraHeight - height) / z};
  }
};

// Who stands in the street: parts [first, last) of a list.
struct Figure {
  uint64_t id = 0;  // 0: belongs to the street
  ActorKind kind = ActorKind::kPedestrian;
  double z = 0;
  size_t first = 0;
  size_t last = 0;
  Extent bounds;  // of the parts, px
  Shape shadow;   // on the ground
};

inline constexpr size_t kMostParts = 40;  // of a figure

// Adds the parts and describes them. `light`: see Lit().
Figure DrawFigure(const Actor& actor, const View& view, double light, std::vector<Part>* parts);

// What stands in the street, one after the other: a bin, a tree, a lamp. `night` 0..1.
inline constexpr int kStreetFurniture = 3;
Figure DrawFurniture(int which, const View& view, double night, std::vector<Part>* parts);

// The light at a place, 1 by day; at night lamps make pools.
double LightAt(double x, double z, double night);

}  // namespace sightline::sim
