#include "sim/scene.h"

#include <algorithm>
#include <cmath>

#include "sim/chance.h"

namespace sightline::sim {
namespace {

constexpr double kFocal = 1.0;  // of the picture's height, as in renderer.cc

// The lights, in us: vehicles ride in the first part of every period, people may begin to cross in
// the second. All chosen so that nobody is on the road with a car.
constexpr int64_t kPeriodUs = 30'000'000;
constexpr double kFirstVehicleS = 1.5;
constexpr double kLastVehicleS = 14;
constexpr int64_t kWalkFromUs = 18'000'000;
constexpr int64_t kWalkUntilUs = 20'500'000;

constexpr double kZebraMiddle = 0.5 * (kZebraLeft + kZebraRight);
constexpr double kNearLane = 11.2;
constexpr double kFarLane = 14.4;

int64_t ToUs(double seconds) { return Round(seconds * 1e6); }

int64_t PhaseOf(int64_t time_us) {
  const int64_t phase = time_us % kPeriodUs;
  return phase < 0 ? phase + kPeriodUs : phase;
}

}  // namespace

double HalfWidthAt(const SimOptions& options, double z) {
  return 0.5 * options.width / (kFocal * options.height) * z;
}

Scene::Scene(const SimOptions& options) : options_(options) {
  const auto add = [this](Crowd crowd, int index, uint32_t slots) {
    Group group;
    group.crowd = crowd;
    group.first_slot = slots_;
    group.index = static_cast<uint32_t>(index);
    slots_ += slots;
    groups_.push_back(group);
  };
  // Two of four walk on their own; the other two meet or go together.
  for (int i = 0; i < options_.people;) {
    const bool pair = i % 4 == 2 && i + 1 < options_.people;
    add(pair ? Crowd::kPair : Crowd::kSingle, i, pair ? 2 : 1);
    i += pair ? 2 : 1;
  }
  for (int i = 0; i < options_.bicycles; ++i) add(Crowd::kCyclist, i, 2);
  for (int i = 0; i < options_.cars; ++i) add(Crowd::kCar, i, 1);
  Restart();
}

void Scene::Restart() {
  now_us_ = 0;
  for (Group& group : groups_) {
    group.generation = 0;
    MakeGeneration(&group, 0);
    if (group.crowd != Crowd::kSingle && group.crowd != Crowd::kPair) continue;
    // At the start everybody is somewhere on the way.
    const int64_t length = std::max(group.lives[0].end_us(), group.lives[1].end_us());
    const double part = Unit(Mix(options_.seed, group.first_slot, 77));
    MakeGeneration(&group, -Round(part * static_cast<double>(length)));
  }
}

double Scene::Outside(double z, double side) const {
  constexpr double kReach = 0.9;  // m from the middle to the farthest hand or foot
  return side * (HalfWidthAt(options_, z) + kReach);
}

// The way from the last waypoint to a new one, and how long it waits there.
void Scene::Walk(Life* life, double x, double z, int64_t wait_us) const {
  Waypoint& to = life->points[static_cast<size_t>(life->count)];
  to.x = x;
  to.z = z;
  if (life->count > 0) {
    const Waypoint& from = life->points[static_cast<size_t>(life->count) - 1];
    const double dx = x - from.x;
    const double dz = z - from.z;
    const double way = std::sqrt(dx * dx + dz * dz);
    to.way = from.way + way;
    to.arrive_us = from.leave_us + std::max<int64_t>(ToUs(way / life->speed), 1);
  }
  to.leave_us = to.arrive_us + wait_us;
  ++life->count;
}

// At the kerb: until people may cross.
void Scene::WaitForGreen(Life* life) const {
  Waypoint& at = life->points[static_cast<size_t>(life->count) - 1];
  const int64_t phase = PhaseOf(at.arrive_us);
  if (phase >= kWalkFromUs && phase < kWalkUntilUs) return;
  const int64_t wait = PhaseOf(kWalkFromUs - phase);
  // Nobody starts at the very moment in which the lights change.
  const double reaction = 0.2 + 1.6 * Unit(Mix(static_cast<uint64_t>(at.arrive_us), options_.seed));
  at.leave_us = at.arrive_us + wait + ToUs(reaction);
}

void Scene::MakePedestrian(uint64_t look, int64_t earliest_us, Life* life) const {
  Chance chance(Mix(look, 1));
  *life = Life();
  life->points[0].arrive_us = earliest_us;
  life->speed = chance.Between(0.95, 1.65);
  const double side = chance.Happens(0.5) ? 1 : -1;
  const double kind = chance.Between(0, 1);
  const int64_t pause = chance.Happens(0.35) ? ToUs(chance.Between(1.5, 7)) : 0;
  const auto near_z = [&] { return chance.Between(5.8, 8.9); };
  const auto far_z = [&] { return chance.Between(16.8, 21.2); };
  if (kind < 0.68) {  // along a pavement
    const bool near = kind < 0.43;
    const double z0 = near ? near_z() : far_z();
    const double z1 = near ? Clamp(z0 + chance.Between(-0.8, 0.8), 5.8, 8.9)
                           : Clamp(z0 + chance.Between(-1.2, 1.2), 16.8, 21.2);
    Walk(life, Outside(z0, -side), z0, 0);
    Walk(life, chance.Between(-0.6, 0.6) * HalfWidthAt(options_, z1), z1, pause);
    Walk(life, Outside(z0, side), z0, 0);
  } else if (kind < 0.88) {  // across the road
    const bool towards = chance.Happens(0.5);
    const double from_z = towards ? far_z() : near_z();
    const double to_z = towards ? near_z() : far_z();
    const double x0 = chance.Between(kZebraLeft + 0.5, kZebraRight - 0.5);
    const double x1 = chance.Between(kZebraLeft + 0.5, kZebraRight - 0.5);
    const double near_kerb = kNearKerb - chance.Between(0.3, 1.0);
    const double far_kerb = kFarKerb + chance.Between(0.4, 1.2);
    life->speed = std::max(life->speed, 1.1);
    Walk(life, Outside(from_z, -side), from_z, 0);
    Walk(life, x0, towards ? far_kerb : near_kerb, 0);
    WaitForGreen(life);
    Walk(life, x1, towards ? near_kerb : far_kerb, 0);
    Walk(life, Outside(to_z, chance.Happens(0.5) ? 1 : -1), to_z, 0);
  } else {                          // from below the camera, or away below it
    constexpr double kBelow = 1.6;  // m; there nobody's head is in the picture
    const double z = near_z();
    const double x = chance.Between(-0.5, 0.5) * HalfWidthAt(options_, z);
    if (chance.Happens(0.5)) {
      Walk(life, 0.5 * x, kBelow, 0);
      Walk(life, x, z, pause);
      Walk(life, Outside(z, side), z, 0);
    } else {
      Walk(life, Outside(z, side), z, 0);
      Walk(life, x, z, pause);
      Walk(life, 0.5 * x, kBelow, 0);
    }
  }
}

// The second goes where the first goes, at its side.
void Scene::MakeCompanions(Group* group, uint64_t hash, int64_t earliest_us) const {
  MakePedestrian(hash, earliest_us, &group->lives[0]);
  group->lives[1] = group->lives[0];
  Chance chance(Mix(hash, 2));
  const double dz = chance.Happens(0.5) ? 0.5 : -0.5;
  const double dx = chance.Between(-0.25, 0.25);
  for (int i = 0; i < group->lives[1].count; ++i) {
    Waypoint& point = group->lives[1].points[static_cast<size_t>(i)];
    point.x += dx;
    point.z += dz;
  }
}

// Two come from both sides, stand together and go on.
void Scene::MakeMeeting(Group* group, uint64_t hash, int64_t earliest_us) const {
  Chance chance(Mix(hash, 3));
  const bool near = chance.Happens(0.6);
  const double z = near ? chance.Between(6.0, 8.6) : chance.Between(17.0, 20.8);
  const double x = chance.Between(-0.5, 0.5) * HalfWidthAt(options_, z);
  const int64_t talk = ToUs(chance.Between(2, 9));
  std::array<int64_t, 2> arrive{};
  for (int i = 0; i < 2; ++i) {
    Life& life = group->lives[static_cast<size_t>(i)];
    const double side = i == 0 ? -1 : 1;
    const double passing = i == 0 ? 0.15 : -0.15;
    life = Life();
    life.speed = chance.Between(0.95, 1.6);
    life.points[0].arrive_us = earliest_us;
    Walk(&life, Outside(z, side), z + passing, 0);
    Walk(&life, x + side * 0.42, z + passing, talk);
    Walk(&life, x - side * 0.42, z + 3 * passing, 0);
    Walk(&life, Outside(z, -side), z + 2 * passing, 0);
    arrive[static_cast<size_t>(i)] = life.points[1].arrive_us;
  }
  // The quicker one sets out later.
  const int64_t both = std::max(arrive[0], arrive[1]);
  for (int i = 0; i < 2; ++i) {
    const int64_t later = both - arrive[static_cast<size_t>(i)];
    for (Waypoint& point : group->lives[static_cast<size_t>(i)].points) {
      point.arrive_us += later;
      point.leave_us += later;
    }
  }
}

// Straight along the road, over the zebra crossing at a time at which the lights are green.
void Scene::MakeVehicle(const Group& group, uint64_t hash, int64_t earliest_us, Life* life) const {
  const bool car = group.crowd == Crowd::kCar;
  const bool near = group.index % 2 == 0;
  const double side = near ? 1 : -1;  // where it goes: they keep to the right
  Chance chance(Mix(hash, 4));
  double z = near ? kNearLane : kFarLane;
  if (!car) z = near ? chance.Between(9.75, 10.2) : chance.Between(15.3, 15.8);
  const double edge = HalfWidthAt(options_, z) + (car ? 3.0 : 1.4);
  for (int64_t window = Floor(static_cast<double>(earliest_us) / kPeriodUs);; ++window) {
    // Cars of a lane and a period keep one speed, so that none runs into the other.
    const uint64_t platoon = Mix(options_.seed, static_cast<uint64_t>(window), near ? 11 : 12);
    double speed = 7.5 + 3.5 * Unit(platoon);
    double at_zebra = kFirstVehicleS + 2.6 * (group.index / 2) + chance.Between(0, 0.6);
    if (!car) {
      speed = chance.Between(3.6, 5.6);
      at_zebra = chance.Between(kFirstVehicleS, kLastVehicleS);
    }
    const bool comes = chance.Happens(0.8);
    const int64_t zebra_us = window * kPeriodUs + ToUs(at_zebra);
    const int64_t begin_us = zebra_us - ToUs((side * kZebraMiddle + edge) / speed);
    if (!comes || begin_us < earliest_us) continue;
    *life = Life();
    life->speed = speed;
    life->points[0].arrive_us = begin_us;
    Walk(life, -side * edge, z, 0);
    Walk(life, side * edge, z, 0);
    return;
  }
}

void Scene::MakeGeneration(Group* group, int64_t earliest_us) const {
  const uint64_t hash =
      Mix(options_.seed, static_cast<uint64_t>(group->first_slot) << 32, group->generation);
  group->lives[1] = Life();
  group->lives[1].count = 1;
  switch (group->crowd) {
    case Crowd::kSingle:
      MakePedestrian(hash, earliest_us, &group->lives[0]);
      break;
    case Crowd::kPair:
      if (Unit(Mix(hash, 5)) < 0.55) {
        MakeCompanions(group, hash, earliest_us);
      } else {
        MakeMeeting(group, hash, earliest_us);
      }
      break;
    case Crowd::kCyclist:
      MakeVehicle(*group, hash, earliest_us, &group->lives[0]);
      group->lives[1] = group->lives[0];
      break;
    case Crowd::kCar:
      MakeVehicle(*group, hash, earliest_us, &group->lives[0]);
      break;
  }
  const double rest_s = 0.3 + 2.2 * Unit(Mix(hash, 6));
  group->rests_until_us =
      std::max(group->lives[0].end_us(), group->lives[1].end_us()) + ToUs(rest_s);
}

void Scene::Place(const Group& group, int member, int64_t time_us,
                  std::vector<Actor>* actors) const {
  const Life& life = group.lives[static_cast<size_t>(member)];
  if (life.count < 2 || time_us < life.begin_us() || time_us >= life.end_us()) return;
  size_t next = 1;
  while (time_us >= life.points[next].leave_us) ++next;
  const Waypoint& from = life.points[next - 1];
  const Waypoint& to = life.points[next];
  const double dx = to.x - from.x;
  const double dz = to.z - from.z;
  const double length = std::max(std::sqrt(dx * dx + dz * dz), 1e-6);
  const bool stands = time_us >= to.arrive_us;
  const double part = stands ? 1
                             : static_cast<double>(time_us - from.leave_us) /
                                   static_cast<double>(to.arrive_us - from.leave_us);
  Actor actor;
  const uint32_t slot = group.first_slot + static_cast<uint32_t>(member);
  actor.id = group.generation * slots_ + slot + 1;
  actor.look = Mix(options_.seed, actor.id, 9);
  actor.x = from.x + part * dx;
  actor.z = from.z + part * dz;
  actor.heading_x = dx / length;
  actor.heading_z = dz / length;
  const double way = from.way + part * (to.way - from.way);
  actor.gait = stands ? 0 : 1;
  switch (group.crowd) {
    case Crowd::kSingle:
    case Crowd::kPair:
      actor.kind = ActorKind::kPedestrian;
      actor.steps = way / 1.45;  // m of two steps
      break;
    case Crowd::kCyclist:
      actor.kind = member == 0 ? ActorKind::kBicycle : ActorKind::kRider;
      actor.steps = way / 5.5;           // m of one turn of the pedals
      if (member == 1) actor.z -= 0.01;  // in front of the frame
      break;
    case Crowd::kCar:
      actor.kind = ActorKind::kCar;
      actor.steps = way / 1.95;  // m of one turn of a wheel
      break;
  }
  actors->push_back(actor);
}

void Scene::ActorsAt(int64_t time_us, std::vector<Actor>* actors) {
  if (time_us < now_us_) Restart();
  now_us_ = time_us;
  actors->clear();
  for (Group& group : groups_) {
    while (time_us >= group.rests_until_us) {
      ++group.generation;
      MakeGeneration(&group, group.rests_until_us);
    }
    Place(group, 0, time_us, actors);
    Place(group, 1, time_us, actors);
  }
  std::sort(actors->begin(), actors->end(),
            [](const Actor& a, const Actor& b) { return a.z != b.z ? a.z > b.z : a.id < b.id; });
}

Scene::Shift Scene::ShakeAt(int64_t time_us) const {
  if (options_.shake_px <= 0) return {};
  const double t = static_cast<double>(time_us) * 1e-6;
  const double first = Unit(Mix(options_.seed, 21));
  const double second = Unit(Mix(options_.seed, 22));
  const double x = 0.6 * SinTurn(1.3 * t + first) + 0.4 * SinTurn(5.7 * t + second);
  const double y = 0.6 * SinTurn(1.7 * t + second) + 0.4 * SinTurn(6.9 * t + first);
  return {.x = static_cast<int>(Round(x * options_.shake_px)),
          .y = static_cast<int>(Round(y * options_.shake_px))};
}

}  // namespace sightline::sim
