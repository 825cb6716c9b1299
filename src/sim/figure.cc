#include "sim/figure.h"

#include <algorithm>

#include "sim/chance.h"

namespace sightline::sim {
namespace {

struct Rgb {
  double r, g, b;
};

constexpr Rgb kSkin[] = {{236, 196, 168}, {222, 176, 142}, {190, 138, 100},
                         {141, 94, 62},   {96, 62, 42},    {245, 208, 186}};
constexpr Rgb kHair[] = {{28, 22, 20},   {58, 40, 28},    {104, 72, 44},
                         {186, 150, 92}, {150, 148, 146}, {120, 52, 30}};
constexpr Rgb kTops[] = {{178, 34, 40},  {30, 62, 132},   {38, 110, 70},   {232, 232, 228},
                         {24, 24, 28},   {212, 160, 40},  {120, 124, 130}, {90, 58, 110},
                         {224, 120, 60}, {120, 170, 206}, {96, 78, 58},    {200, 90, 130}};
constexpr Rgb kTrousers[] = {{32, 40, 66},    {22, 22, 26}, {70, 72, 78}, {58, 78, 112},
                             {150, 132, 104}, {84, 66, 48}, {44, 56, 40}};
constexpr Rgb kShoes[] = {{20, 18, 18}, {70, 46, 30}, {220, 220, 220}, {150, 30, 34}};
constexpr Rgb kCars[] = {{190, 24, 30},   {24, 44, 96},    {212, 214, 216}, {34, 36, 40},
                         {140, 146, 152}, {236, 236, 232}, {30, 84, 62},    {196, 164, 92}};

template <size_t kCount>
Rgb PickOf(const Rgb (&palette)[kCount], Chance& chance) {
  const Rgb& c = palette[static_cast<size_t>(chance.Pick(static_cast<int>(kCount)))];
  const double f = chance.Between(0.85, 1.12);
  return {std::min(255.0, c.r * f), std::min(255.0, c.g * f), std::min(255.0, c.b * f)};
}

// Draws in metres around a place on the ground: x to the right in the picture, y up.
class Sketch {
 public:
  Sketch(const View& view, double x, double z, double light, std::vector<Part>* parts)
      : origin_(view.ToPicture(x, 0, z)), scale_(view.focal_px / z), light_(light), parts_(parts) {
    figure_.first = figure_.last = parts->size();
    figure_.z = z;
  }

  Paint PaintOf(const Rgb& c, double shade = 12, double grain = 4) const {
    Paint paint;
    paint.colour = Lit(FromRgb(c.r, c.g, c.b), light_);
    paint.shade = static_cast<int16_t>(Round(shade * light_));
    paint.grain = static_cast<int16_t>(Round(grain * light_));
    return paint;
  }
  void Limb(PointD from, double from_r, PointD to, double to_r, const Paint& paint) {
    Part part;
    part.shape.kind = Shape::Kind::kCapsule;
    part.shape.points[0] = At(from);
    part.shape.points[1] = At(to);
    part.shape.a = from_r * scale_;
    part.shape.b = to_r * scale_;
    part.paint = paint;
    Add(part);
  }
  void Ellipse(PointD middle, double rx, double ry, const Paint& paint) {
    Part part;
    part.shape.kind = Shape::Kind::kEllipse;
    part.shape.points[0] = At(middle);
    part.shape.a = rx * scale_;
    part.shape.b = ry * scale_;
    part.paint = paint;
    Add(part);
  }
  void Ring(PointD middle, double outer, double inner, const Paint& paint) {
    Part part;
    part.shape.kind = Shape::Kind::kRing;
    part.shape.points[0] = At(middle);
    part.shape.a = outer * scale_;
    part.shape.b = inner * scale_;
    part.paint = paint;
    Add(part);
  }
  // A convex outline; `flip` mirrors it.
  void Polygon(std::initializer_list<PointD> points, double flip, const Paint& paint) {
    Part part;
    part.shape.kind = Shape::Kind::kPolygon;
    for (const PointD& p : points) {
      part.shape.points[static_cast<size_t>(part.shape.count++)] = At({flip * p.x, p.y});
    }
    part.paint = paint;
    Add(part);
  }
  // A shadow that the sun, high on the left, throws of something so high and wide.
  void Shadow(double height, double radius) {
    Shape& s = figure_.shadow;
    s.kind = Shape::Kind::kCapsule;
    s.points[0] = At({0, 0});
    s.points[1] = {origin_.x + 0.55 * height * scale_, origin_.y - 0.09 * height * scale_};
    s.a = radius * scale_;
    s.b = 0.8 * radius * scale_;
  }
  void FlatShadow(double half_width, double half_height) {
    Shape& s = figure_.shadow;
    s.kind = Shape::Kind::kEllipse;
    s.points[0] = At({0.1 * half_width, 0});
    s.a = half_width * scale_;
    s.b = half_height * scale_;
  }
  int16_t Px(double metres) const { return static_cast<int16_t>(Round(metres * scale_)); }
  Figure Finish() {
    figure_.last = parts_->size();
    return figure_;
  }

 private:
  PointD At(PointD p) const { return {origin_.x + p.x * scale_, origin_.y - p.y * scale_}; }
  void Add(const Part& part) {
    figure_.bounds.Include(part.shape.Bounds());
    parts_->push_back(part);
  }

  const PointD origin_;
  const double scale_;
  const double light_;
  std::vector<Part>* parts_;
  Figure figure_;
};

// What makes a person look like no other; metres where it says so.
struct Person {
  explicit Person(uint64_t look) {
    Chance chance(look);
    const bool child = chance.Happens(0.08);
    height = child ? chance.Between(1.15, 1.45) : chance.Between(1.55, 1.93);
    build = chance.Between(0.86, 1.2);
    skin = PickOf(kSkin, chance);
    hair = PickOf(kHair, chance);
    top = PickOf(kTops, chance);
    bottom = PickOf(kTrousers, chance);
    shoes = PickOf(kShoes, chance);
    bag_colour = PickOf(kTops, chance);
    long_hair = chance.Happens(0.35);
    coat = chance.Happens(0.25);
    skirt = !coat && chance.Happens(0.16);
    backpack = chance.Happens(0.22);
    short_sleeves = !coat && chance.Happens(0.35);
    striped = !coat && chance.Happens(0.22);
    hat = chance.Happens(0.12);
    swing = chance.Between(0.85, 1.15);
  }
  double height, build, swing;
  Rgb skin, hair, top, bottom, shoes, bag_colour;
  bool long_hair, coat, skirt, backpack, short_sleeves, striped, hat;
};

// A person's parts in units of its height.
class PersonSketch {
 public:
  PersonSketch(Sketch& sketch, const Person& person, const Actor& actor)
      : sketch_(sketch),
        p_(person),
        h_(person.height),
        // How much of the way is across the picture (1) and not towards the camera or away (0).
        across_(actor.heading_x < 0 ? -actor.heading_x : actor.heading_x),
        way_(actor.heading_x < 0 ? -1 : 1),
        away_(actor.heading_z > 0.6),
        gait_(actor.gait),
        turns_(actor.steps),
        skin_(sketch.PaintOf(person.skin, 10, 2)),
        top_(sketch.PaintOf(person.top, 16, 5)),
        bottom_(sketch.PaintOf(person.bottom, 11, 4)),
        shoes_(sketch.PaintOf(person.shoes, 6, 2)),
        hair_(sketch.PaintOf(person.hair, 8, 6)) {
    if (p_.striped) {
      top_.stripe_px = std::max<int16_t>(2, sketch.Px(0.06));
      top_.stripe_luma = top_.colour.y > 120 ? -34 : 34;
    }
  }

  void DrawWalking() {
    if (p_.backpack && !away_) Backpack();
    Arm(0.5, -1);
    Leg(0.0, -1);
    Leg(0.5, 1);
    Torso({0, 0.78}, {0, 0.53});
    Head({0.012 * way_ * across_, 0.93});
    Arm(0.0, 1);
    if (p_.backpack && away_) Backpack();
  }

  // On a saddle: hips and hands are where the bicycle has them, in metres.
  void DrawRiding() {
    const PointD hip{-0.18 * way_ / h_, 0.93 / h_};
    const PointD shoulder{0.10 * way_ / h_, (0.93 + 0.30 * h_) / h_};
    const PointD hand{0.42 * way_ / h_, 1.04 / h_};
    Pedalling(hip, turns_ + 0.5);
    Torso({shoulder.x, shoulder.y}, hip);
    Head({shoulder.x + 0.03 * way_, shoulder.y + 0.14});
    Pedalling(hip, turns_);
    const PointD elbow{0.5 * (shoulder.x + hand.x) - 0.01 * way_,
                       0.5 * (shoulder.y + hand.y) - 0.03};
    Limb({shoulder.x, shoulder.y - 0.02}, 0.03, elbow, 0.025, top_);
    Limb(elbow, 0.024, hand, 0.02, p_.short_sleeves ? skin_ : top_);
  }

 private:
  PointD M(PointD p) const { return {p.x * h_, p.y * h_}; }
  void Limb(PointD from, double from_r, PointD to, double to_r, const Paint& paint) {
    sketch_.Limb(M(from), from_r * h_, M(to), to_r * h_, paint);
  }

  // side -1: the far one (or the left one of who walks towards the camera).
  void Leg(double phase, double side) {
    const double turn = turns_ + phase;
    const double reach = 0.15 * p_.swing * gait_ * SinTurn(turn);
    const double lift = gait_ * std::max(0.0, CosTurn(turn));
    const double apart = side * (0.05 - 0.036 * across_);
    const PointD hip{apart, 0.50};
    PointD foot{apart + reach * across_ * way_, 0.022 + (0.035 + 0.05 * (1 - across_)) * lift};
    PointD knee{0.5 * (hip.x + foot.x) + way_ * across_ * (0.012 + 0.05 * lift),
                0.5 * (hip.y + foot.y) + 0.012 * lift};
    const bool bare = p_.skirt;
    const Paint& cloth = bare ? skin_ : bottom_;
    const double thick = 0.052 * p_.build;
    Limb(hip, thick, knee, 0.038 * p_.build, cloth);
    Limb(knee, 0.036 * p_.build, foot, 0.024, cloth);
    const double toe = way_ * across_ * 0.06;
    Limb(foot, 0.022, {foot.x + toe, foot.y - 0.002}, 0.018, shoes_);
  }

  void Arm(double phase, double side) {
    const double swing = p_.swing * gait_ * SinTurn(turns_ + phase);
    const double reach = -0.15 * swing;
    const double apart = side * (0.118 - 0.088 * across_) * p_.build;
    const PointD shoulder{apart, 0.785};
    const PointD hand{apart * 1.12 + reach * across_ * way_,
                      0.455 + 0.05 * gait_ * (swing < 0 ? -swing : swing) * across_};
    const PointD elbow{0.5 * (shoulder.x + hand.x) - 0.022 * across_ * way_ * gait_ + 0.1 * apart,
                       0.5 * (shoulder.y + hand.y) - 0.01};
    Limb(shoulder, 0.034 * p_.build, elbow, 0.027 * p_.build, top_);
    Limb(elbow, 0.025 * p_.build, hand, 0.02, p_.short_sleeves ? skin_ : top_);
    if (!p_.short_sleeves) Limb(hand, 0.02, {hand.x, hand.y - 0.02}, 0.018, skin_);
  }

  void Torso(PointD shoulders, PointD hips) {
    const double wide = (0.108 - 0.026 * across_) * p_.build;
    const double narrow = (0.088 - 0.016 * across_) * p_.build;
    if (p_.skirt) {
      Limb(hips, narrow, {hips.x * 0.6, hips.y - 0.22}, narrow * 1.25, bottom_);
    } else {
      Limb(hips, narrow * 0.97, {hips.x, hips.y - 0.03}, narrow * 0.9, bottom_);
    }
    Limb({shoulders.x, shoulders.y - wide * 0.55}, wide, hips, narrow, top_);
    if (p_.coat) Limb(hips, narrow, {hips.x * 0.7, hips.y - 0.2}, narrow * 1.12, top_);
  }

  void Head(PointD middle) {
    const double ahead = 0.014 * way_ * across_;
    const double rx = 0.05 + 0.005 * across_;
    if (p_.long_hair) {
      sketch_.Ellipse(M({middle.x - 1.6 * ahead, middle.y - 0.035}), 0.055 * h_, 0.09 * h_, hair_);
    }
    Limb({middle.x - 0.5 * ahead, middle.y - 0.05}, 0.026, {middle.x - ahead, middle.y - 0.11},
         0.032, skin_);
    sketch_.Ellipse(M({middle.x - 0.4 * ahead, middle.y + 0.008}), (rx + 0.003) * h_, 0.062 * h_,
                    p_.hat ? sketch_.PaintOf(p_.bag_colour, 8, 3) : hair_);
    if (!away_) {
      sketch_.Ellipse(M({middle.x + ahead, middle.y - 0.018}), 0.84 * rx * h_, 0.046 * h_, skin_);
    }
    if (p_.hat) {
      Limb({middle.x - 0.02 * way_, middle.y + 0.02}, 0.012,
           {middle.x + 0.065 * way_, middle.y + 0.018}, 0.008,
           sketch_.PaintOf(p_.bag_colour, 8, 3));
    }
  }

  void Backpack() {
    const double behind = -0.105 * way_ * across_ * p_.build;
    sketch_.Ellipse(M({behind, 0.68}), (0.085 - 0.025 * across_) * h_, 0.115 * h_,
                    sketch_.PaintOf(p_.bag_colour, 12, 5));
  }

  void Pedalling(PointD hip, double turn) {
    const PointD foot{(0.02 * way_ + way_ * 0.16 * CosTurn(turn)) / h_,
                      (0.36 - 0.16 * SinTurn(turn)) / h_};
    const PointD knee{0.5 * (hip.x + foot.x) + 0.12 * way_, 0.5 * (hip.y + foot.y) + 0.055};
    Limb(hip, 0.05, knee, 0.036, bottom_);
    Limb(knee, 0.034, foot, 0.024, bottom_);
    Limb(foot, 0.02, {foot.x + 0.06 * way_, foot.y}, 0.016, shoes_);
  }

  Sketch& sketch_;
  const Person& p_;
  const double h_;
  const double across_;
  const double way_;
  const bool away_;
  const double gait_;
  const double turns_;
  Paint skin_, top_, bottom_, shoes_, hair_;
};

void DrawBicycle(Sketch& sketch, const Actor& actor) {
  Chance chance(actor.look);
  const double way = actor.heading_x < 0 ? -1 : 1;
  const Paint frame = sketch.PaintOf(PickOf(kTops, chance), 6, 0);
  const Paint tyre = sketch.PaintOf({26, 26, 28}, 0, 0);
  const Paint metal = sketch.PaintOf({150, 152, 156}, 0, 0);
  const PointD rear{-0.52 * way, 0.34};
  const PointD front{0.52 * way, 0.34};
  const PointD crank{0.02 * way, 0.36};
  const PointD seat{-0.17 * way, 0.82};
  const PointD head{0.36 * way, 0.86};
  for (const PointD& hub : {rear, front}) {
    sketch.Ring(hub, 0.34, 0.285, tyre);
    sketch.Ellipse(hub, 0.04, 0.04, metal);
  }
  sketch.Limb(rear, 0.018, crank, 0.02, frame);
  sketch.Limb(rear, 0.016, seat, 0.016, frame);
  sketch.Limb(crank, 0.02, seat, 0.02, frame);
  sketch.Limb(crank, 0.022, head, 0.022, frame);
  sketch.Limb({seat.x, seat.y - 0.08}, 0.02, head, 0.02, frame);
  sketch.Limb(head, 0.02, front, 0.018, frame);
  sketch.Limb(head, 0.018, {0.38 * way, 1.02}, 0.018, metal);
  sketch.Limb({0.36 * way, 1.03}, 0.02, {0.46 * way, 1.03}, 0.018, tyre);
  sketch.Limb({-0.28 * way, 0.88}, 0.03, {-0.08 * way, 0.88}, 0.022, tyre);
  sketch.FlatShadow(0.75, 0.10);
}

void DrawCar(Sketch& sketch, const Actor& actor, double light) {
  Chance chance(actor.look);
  const double way = actor.heading_x < 0 ? -1 : 1;
  const double half = chance.Between(1.95, 2.3);  // m
  const double roof = chance.Happens(0.25) ? chance.Between(1.75, 1.95) : chance.Between(1.4, 1.52);
  Paint body = sketch.PaintOf(PickOf(kCars, chance), 10, 2);
  Paint lower = body;
  lower.colour.y = static_cast<int16_t>(16 + (body.colour.y - 16) * 4 / 5);
  const Paint glass = sketch.PaintOf({52, 64, 76}, 26, 3);
  const Paint dark = sketch.PaintOf({18, 18, 20}, 4, 2);
  const Paint trim = sketch.PaintOf({36, 36, 38}, 4, 2);
  Paint head_light = sketch.PaintOf({246, 240, 210}, 0, 0);
  Paint tail_light = sketch.PaintOf({190, 20, 24}, 0, 0);
  if (light < 0.8) {  // switched on
    head_light.colour = FromRgb(255, 250, 225);
    tail_light.colour = FromRgb(255, 40, 36);
  }
  sketch.FlatShadow(half * 1.06, 0.16);
  sketch.Polygon({{-0.98 * half, 0.24},
                  {-half, 0.60},
                  {-0.93 * half, 0.88},
                  {0.40 * half, 0.92},
                  {0.92 * half, 0.74},
                  {half, 0.55},
                  {0.98 * half, 0.26}},
                 way, body);
  sketch.Polygon({{-0.98 * half, 0.24}, {-half, 0.50}, {half, 0.48}, {0.98 * half, 0.24}}, way,
                 lower);
  sketch.Polygon({{-0.84 * half, 0.86},
                  {-0.66 * half, roof - 0.03},
                  {-0.50 * half, roof},
                  {0.02 * half, roof},
                  {0.14 * half, roof - 0.04},
                  {0.50 * half, 0.88}},
                 way, body);
  sketch.Polygon({{-0.74 * half, 0.92},
                  {-0.60 * half, roof - 0.09},
                  {-0.26 * half, roof - 0.08},
                  {-0.26 * half, 0.92}},
                 way, glass);
  sketch.Polygon({{-0.20 * half, 0.92},
                  {-0.20 * half, roof - 0.08},
                  {0.08 * half, roof - 0.09},
                  {0.40 * half, 0.92}},
                 way, glass);
  sketch.Limb({-0.23 * half * way, 0.34}, 0.012, {-0.23 * half * way, 0.9}, 0.012, lower);
  sketch.Limb({-0.36 * half * way, 0.74}, 0.018, {-0.30 * half * way, 0.74}, 0.018, trim);
  sketch.Limb({0.30 * half * way, 0.36}, 0.012, {0.30 * half * way, 0.9}, 0.012, lower);
  sketch.Limb({-0.9 * half * way, 0.26}, 0.05, {0.9 * half * way, 0.26}, 0.05, trim);
  sketch.Ellipse({0.93 * half * way, 0.64}, 0.09, 0.06, head_light);
  sketch.Ellipse({-0.96 * half * way, 0.70}, 0.06, 0.09, tail_light);
  for (const double at : {-0.62, 0.62}) {
    const PointD hub{at * half * way, 0.32};
    sketch.Ellipse({hub.x, hub.y + 0.03}, 0.40, 0.39, trim);
    sketch.Ellipse(hub, 0.32, 0.32, dark);
    sketch.Ellipse(hub, 0.19, 0.19, sketch.PaintOf({150, 152, 156}, 14, 2));
    for (int spoke = 0; spoke < 5; ++spoke) {
      const double turn = way * actor.steps + 0.2 * spoke;
      sketch.Limb(hub, 0.02, {hub.x + 0.17 * SinTurn(turn), hub.y + 0.17 * CosTurn(turn)}, 0.03,
                  trim);
    }
  }
}

void DrawBin(Sketch& sketch) {
  const Paint green = sketch.PaintOf({44, 84, 58}, 14, 4);
  sketch.Limb({0, 0.2}, 0.24, {0, 0.75}, 0.28, green);
  sketch.Limb({-0.26, 0.98}, 0.05, {0.26, 0.98}, 0.05, sketch.PaintOf({30, 40, 34}, 6, 2));
  sketch.Shadow(0.9, 0.25);
}

void DrawTree(Sketch& sketch) {
  const Paint bark = sketch.PaintOf({84, 66, 50}, 16, 14);
  sketch.Limb({0, 0.05}, 0.2, {0.02, 1.0}, 0.13, bark);
  sketch.Limb({0.02, 1.0}, 0.13, {0.04, 3.0}, 0.1, bark);
  sketch.Limb({0.04, 2.2}, 0.07, {-0.6, 3.1}, 0.05, bark);
  sketch.Limb({0.04, 2.4}, 0.07, {0.7, 3.2}, 0.05, bark);
  constexpr PointD kLeaves[] = {{-1.0, 3.3}, {0.9, 3.35}, {0, 3.1},    {-0.5, 3.9},
                                {0.6, 4.0},  {0, 4.6},    {-1.4, 3.9}, {1.4, 3.9}};
  for (size_t i = 0; i < std::size(kLeaves); ++i) {
    const double tone = 1 + 0.1 * static_cast<double>(i % 3);
    sketch.Ellipse(kLeaves[i], 0.72, 0.52,
                   sketch.PaintOf({46 * tone, 92 * tone, 40 * tone}, 14, 26));
  }
  sketch.Shadow(1.6, 0.2);
}

void DrawLamp(Sketch& sketch, double night) {
  const Paint iron = sketch.PaintOf({54, 60, 62}, 12, 3);
  sketch.Limb({0, 0.06}, 0.13, {0, 0.5}, 0.09, iron);
  sketch.Limb({0, 0.5}, 0.07, {0, 4.3}, 0.05, iron);
  sketch.Limb({0, 4.3}, 0.05, {0.5, 4.55}, 0.05, iron);
  Paint glass = sketch.PaintOf({236, 232, 214}, 0, 0);
  if (night > 0.2) glass.colour = FromRgb(255, 246, 214);
  sketch.Limb({0.4, 4.5}, 0.09, {0.75, 4.5}, 0.09, glass);
  sketch.Shadow(2.4, 0.09);
}

}  // namespace

Colour FromRgb(double r, double g, double b) {
  // ITU-R BT.601, 8 bit, limited range.
  const double y = 0.299 * r + 0.587 * g + 0.114 * b;
  return {.y = static_cast<int16_t>(Round(16 + 219.0 / 255 * y)),
          .u = static_cast<int16_t>(Round(128 + 224.0 / 255 * 0.564 * (b - y))),
          .v = static_cast<int16_t>(Round(128 + 224.0 / 255 * 0.713 * (r - y)))};
}

Colour Lit(Colour c, double light) {
  if (light >= 1) return c;
  const double colourful = 0.35 + 0.65 * light;
  return {.y = static_cast<int16_t>(Round(16 + (c.y - 16) * light)),
          .u = static_cast<int16_t>(Round(128 + (c.u - 128) * colourful)),
          .v = static_cast<int16_t>(Round(128 + (c.v - 128) * colourful))};
}

namespace {
constexpr PointD kLamps[] = {{-3.4, 9.15}, {9.5, 9.15}, {-17, 9.15}, {22, 9.15}, {2.0, 16.6}};
}  // namespace

double LightAt(double x, double z, double night) {
  if (night <= 0) return 1;
  double pool = 0;
  for (const PointD& lamp : kLamps) {
    const double dx = x - lamp.x;
    const double dz = z - lamp.y;
    pool += 1 / (1 + (dx * dx + dz * dz) / 7);
  }
  const double by_night = Clamp(0.17 + 0.55 * pool, 0, 0.85);
  return (1 - night) + night * by_night;
}

Figure DrawFigure(const Actor& actor, const View& view, double light, std::vector<Part>* parts) {
  Sketch sketch(view, actor.x, actor.z, light, parts);
  switch (actor.kind) {
    case ActorKind::kPedestrian: {
      const Person person(actor.look);
      PersonSketch(sketch, person, actor).DrawWalking();
      sketch.Shadow(person.height, 0.13);
      break;
    }
    case ActorKind::kRider: {
      const Person person(actor.look);
      PersonSketch(sketch, person, actor).DrawRiding();
      break;
    }
    case ActorKind::kBicycle:
      DrawBicycle(sketch, actor);
      break;
    case ActorKind::kCar:
      DrawCar(sketch, actor, light);
      break;
  }
  Figure figure = sketch.Finish();
  figure.id = actor.id;
  figure.kind = actor.kind;
  return figure;
}

Figure DrawFurniture(int which, const View& view, double night, std::vector<Part>* parts) {
  constexpr PointD kPlaces[kStreetFurniture] = {{-1.6, 16.75}, {5.9, 9.12}, {-3.4, 9.1}};
  const PointD place = kPlaces[which];
  Sketch sketch(view, place.x, place.y, LightAt(place.x, place.y, night), parts);
  if (which == 0) DrawBin(sketch);
  if (which == 1) DrawTree(sketch);
  if (which == 2) DrawLamp(sketch, night);
  return sketch.Finish();
}

}  // namespace sightline::sim
