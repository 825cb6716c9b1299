#include "detect/heads/darknet.h"

#include <optional>

namespace sightline::darknet {
namespace {

// The activation of YOLOv5 and its kin leaves many.
bool HasManySigmoids(const SeenModel& seen) { return seen.Operators("Sigmoid") >= 8; }

std::optional<Version> ByOperators(const SeenModel& seen, size_t maps) {
  if (seen.operators == nullptr || seen.operators->empty()) return std::nullopt;
  const int pools = seen.Operators("MaxPool");
  if (maps == 2) {
    if (pools == 3) return Version::kFour;
    return pools >= 5 ? std::optional(Version::kThree) : std::nullopt;
  }
  // Mish is x * tanh(softplus(x)) before opset 18.
  if (seen.Operators("Mish") + seen.Operators("Softplus") > 0) return Version::kFour;
  return pools == 0 ? std::optional(Version::kThree) : std::nullopt;
}

}  // namespace

const anchor_maps::FamilyMaps& MapsOf(Version version) {
  static const anchor_maps::FamilyMaps three = {
      anchor_maps::BoxLaw::kDarknet,
      {anchor_maps::CocoAnchors(), {1, 1, 1}},
      {{10, 14, 23, 27, 37, 58, 81, 82, 135, 169, 344, 319}, {1, 1}}};
  static const anchor_maps::FamilyMaps four = {
      anchor_maps::BoxLaw::kDarknet,
      {anchor_maps::WiderCocoAnchors(), {1.2f, 1.1f, 1.05f}},
      {{23, 27, 37, 58, 81, 82, 81, 82, 135, 169, 344, 319}, {1.05f, 1.05f}}};
  return version == Version::kThree ? three : four;
}

absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen, std::string_view family,
                                           Version version) {
  const auto form = anchor_maps::FindForm(seen);
  const auto spoken_for = form ? ByOperators(seen, form->levels.size()) : std::optional<Version>();
  // [batch, 3, rows, columns, 5 + classes] is YOLOv5's way.
  const bool anchors_in_front = form &&
                                seen.outputs[form->levels[0].output].info.shape.size() == 5 &&
                                form->levels[0].anchor_step > form->levels[0].cell_step;
  if (HasManySigmoids(seen) || anchors_in_front || (spoken_for && *spoken_for != version)) {
    return InvalidArgument("its operators, or the order of its numbers, are not those of {}",
                           family);
  }
  return anchor_maps::LayoutByValues(seen, family, MapsOf(version));
}

}  // namespace sightline::darknet
