// What is really in a picture, where that is known: simulated cameras carry it with every frame.
#pragma once

#include <cstdint>
#include <vector>

#include "types/geometry.h"

namespace sightline {

// In the order of the first three classes of COCO, so that their numbers agree.
enum class TruthClass : uint8_t { kPerson, kBicycle, kCar };

struct TruthObject {
  uint64_t id = 0;  // from 1 on; never that of another object of the same camera
  TruthClass object_class = TruthClass::kPerson;
  bool riding = false;  // a person on a bicycle
  Box box_px;           // the whole object, also what others hide of it, clipped to the picture
  // The part of the object's own outline within the picture that nothing in front of it hides: 0
  // (hidden) to 1.
  float visible = 1;
};

struct Truth {
  uint64_t seed = 0;                 // of the scene, and
  int64_t time_us = 0;               // its time: for whoever needs chance that can be repeated
  std::vector<TruthObject> objects;  // by rising id
};

}  // namespace sightline
