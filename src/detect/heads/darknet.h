// What the families of Darknet's models share, YOLOv3 and YOLOv4: maps of anchors as their last
// layer takes them, and telling the two apart, which nothing in a map does.
#pragma once

#include "detect/heads/anchor_maps.h"

namespace sightline::darknet {

enum class Version : uint8_t { kThree, kFour };

// Anchors and scale_x_y of cfg/yolov3.cfg and yolov3-tiny.cfg, yolov4.cfg and yolov4-tiny.cfg
// (AlexeyAB/darknet).
const anchor_maps::FamilyMaps& MapsOf(Version version);

// anchor_maps::LayoutByValues, and InvalidArgument where the file's operators are the other
// version's. With three maps: YOLOv4 has Mish, YOLOv3 neither that nor pooling (what pools without
// Mish may be YOLOv3-SPP or a YOLOv4 with other activations). With two: YOLOv3-tiny pools six
// times, YOLOv4-tiny three times.
absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen, std::string_view family,
                                           Version version);

}  // namespace sightline::darknet
