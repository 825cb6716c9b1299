// The world in front of a simulated camera: who is where at which moment.
//
// A street seen from the first floor on its near side. On the ground, in metres: x to the right, 0
// before the camera; z away from it. From near to far: the near pavement, the road with two lanes
// and a zebra crossing, the far pavement, a wall. People walk along the pavements, come from below
// the camera, cross the road; they stop, walk in twos, meet and talk, wait for the lights. Cars and
// cyclists ride while the lights let them, once in every period of the lights.
//
// The state is a pure function of the options and the time: whatever was asked before, the same
// question has the same answer, bit for bit on every machine (see chance.h).
//
// Everybody belongs to a slot: somebody walks through the picture, then the slot rests, then comes
// the next one. Ids: slot + 1 + slots * (how many were in the slot before); never used again.
//
// Threads: one. Memory: fixed after the constructor. Cost: ActorsAt() a fraction of a microsecond
// an actor when times rise; a step back begins anew with time 0 and costs about 1 us for everybody
// who ever walked by.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sim/sim_options.h"

namespace sightline::sim {

// The street, in metres.
inline constexpr double kCameraHeight = 4.0;
inline constexpr double kNearKerb = 9.4;
inline constexpr double kFarKerb = 16.2;
inline constexpr double kWall = 22.0;
inline constexpr double kZebraLeft = 0.6;
inline constexpr double kZebraRight = 4.6;

enum class ActorKind : uint8_t { kPedestrian, kRider, kBicycle, kCar };

// Somebody at a moment.
struct Actor {
  uint64_t id = 0;
  ActorKind kind = ActorKind::kPedestrian;
  uint64_t look = 0;     // hash of what makes the one look like no other
  double x = 0;          // m, of the middle on the ground
  double z = 0;          // m
  double heading_x = 1;  // unit vector on the ground
  double heading_z = 0;
  double steps = 0;  // turns of the legs (or pedals, wheels) so far; the fraction is the phase
  double gait = 0;   // 0 stands .. 1 walks
};

// The metres that fit to either side of the camera's middle at distance z.
double HalfWidthAt(const SimOptions& options, double z);

class Scene {
 public:
  explicit Scene(const SimOptions& options);

  // Everybody in the world, at `time_us` >= 0 of the camera's life, farthest first; some of them
  // may be outside the picture.
  void ActorsAt(int64_t time_us, std::vector<Actor>* actors);

  // No more than so many are ever there at once.
  size_t most_actors() const { return slots_; }

  // How far the picture is shifted by the camera's trembling, px; at most `shake` each way.
  struct Shift {
    int x = 0;
    int y = 0;
  };
  Shift ShakeAt(int64_t time_us) const;

 private:
  struct Waypoint {
    double x = 0;
    double z = 0;
    int64_t arrive_us = 0;
    int64_t leave_us = 0;
    double way = 0;  // m walked until here
  };
  struct Life {
    std::array<Waypoint, 6> points;
    int count = 0;
    double speed = 1;  // m/s
    int64_t begin_us() const { return points[0].arrive_us; }
    int64_t end_us() const { return points[static_cast<size_t>(count) - 1].leave_us; }
  };
  enum class Crowd : uint8_t { kSingle, kPair, kCyclist, kCar };
  // One or two slots that live in step.
  struct Group {
    Crowd crowd = Crowd::kSingle;
    uint32_t first_slot = 0;
    uint32_t index = 0;  // among its kind
    uint64_t generation = 0;
    std::array<Life, 2> lives;
    int64_t rests_until_us = 0;  // when the next generation may begin
  };

  void Restart();
  void MakeGeneration(Group* group, int64_t earliest_us) const;
  void MakePedestrian(uint64_t look, int64_t earliest_us, Life* life) const;
  void MakeCompanions(Group* group, uint64_t hash, int64_t earliest_us) const;
  void MakeMeeting(Group* group, uint64_t hash, int64_t earliest_us) const;
  void MakeVehicle(const Group& group, uint64_t hash, int64_t earliest_us, Life* life) const;
  void Walk(Life* life, double x, double z, int64_t wait_us) const;
  void WaitForGreen(Life* life) const;
  void Place(const Group& group, int member, int64_t time_us, std::vector<Actor>* actors) const;
  double Outside(double z, double side) const;

  const SimOptions options_;
  uint32_t slots_ = 0;
  std::vector<Group> groups_;
  int64_t now_us_ = -1;
};

}  // namespace sightline::sim
