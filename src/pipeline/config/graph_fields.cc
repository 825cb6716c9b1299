// The keys of graphs of models: what one model hands on to others.
#include "pipeline/config/binding.h"
#include "pipeline/config/sections.h"

namespace sightline::config {
namespace {

using enum FieldType;

constexpr std::string_view kModelSays =
    "A name under `models`, a built-in detector, a package or an ONNX file.";

constexpr Field kFallbackFields[] = {
    Key<&FallbackConfig::model>("model", kText)
        .Says(kModelSays)
        .Required()
        .AffectsResults()
        .Example("large"),
    Key<&FallbackConfig::from>("from", kNumber)
        .Says(
            "It is asked when the best confidence of a frame is at least this; 0 asks about frames "
            "without any result, too.")
        .AffectsResults()
        .Range(0, 1),
    Key<&FallbackConfig::below>("below", kNumber)
        .Says("And below this. Its results then take the place of what there was.")
        .AffectsResults()
        .Range(0, 1),
};

constexpr Field kCropsFields[] = {
    Key<&CropsConfig::name>("name", kId)
        .Says("Under this name its results stand with each object; unique within the model.")
        .Required()
        .AffectsResults()
        .Example("colour"),
    Key<&CropsConfig::model>("model", kText)
        .Says(kModelSays)
        .Required()
        .AffectsResults()
        .Example("car_colour"),
    Key<&CropsConfig::classes>("classes", kTextList)
        .Says("Only objects of these classes.")
        .AffectsResults()
        .Items(1, 1000)
        .Unset("all classes")
        .Example("[car, truck]"),
    Key<&CropsConfig::margin>("margin", kNumber)
        .Says(
            "How much of its surroundings is shown: on each side, as a part of the box's width or "
            "height.")
        .AffectsResults()
        .Range(0, 2),
    Key<&CropsConfig::min_side>("min_side", kInteger)
        .Says("Objects whose shorter side is below this, in pixels, are left out.")
        .AffectsResults()
        .Range(1, 8192),
    Key<&CropsConfig::most>("most", kInteger)
        .Says("Most objects of a frame, the surest first.")
        .AffectsResults()
        .Range(1, 1000),
    Key<&CropsConfig::keep_above>("keep_above", kNumber)
        .Says("Objects of which the model is less sure than this are taken out: a second look that "
              "confirms.")
        .AffectsResults()
        .Range(0, 1)
        .Unset("every object stays")
        .Example("0.8"),
    Key<&CropsConfig::keep_classes>("keep_classes", kTextList)
        .Says("The model's own classes that confirm an object.")
        .AffectsResults()
        .Items(1, 1000)
        .Needs("keep_above")
        .Unset("any")
        .Example("[defect]"),
};

}  // namespace

constexpr Section kFallback = {
    "models[].fallback[]",
    "A second look at frames of which a model is not sure: while the best "
    "confidence lies in a range, another model is asked.",
    kFallbackFields,
    {},
    &Bind<&FallbackConfig::at>::Locate};
constexpr Section kCrops = {
    "models[].crops[]",
    "A closer look at each object: another model is shown what its box holds.",
    kCropsFields,
    {},
    &Bind<&CropsConfig::at>::Locate};

}  // namespace sightline::config
