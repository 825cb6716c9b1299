// The keys of graphs of models: what one model hands on to others, on this machine and elsewhere.
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
        .Says("Objects whose shorter side is below this, in pixels, are not looked at; they stay.")
        .AffectsResults()
        .Range(1, 8192),
    Key<&CropsConfig::most>("most", kInteger)
        .Says("Most objects of a frame that are looked at, the surest first; the others stay.")
        .AffectsResults()
        .Range(1, 1000),
    Key<&CropsConfig::keep_above>("keep_above", kNumber)
        .Says("Objects that were looked at and of which the model is less sure than this are taken "
              "out: a second look that confirms.")
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

constexpr std::string_view kAnswerKinds[] = {"one", "several", "boxes"};
constexpr std::string_view kBoxUnits[] = {"thousandths", "pixels"};
constexpr std::string_view kNoLimit = "`0`, without limit";

constexpr Field kVisionLanguageFields[] = {
    Key<&VisionLanguageConfig::endpoint>("endpoint", kText)
        .Says("The base address of an OpenAI-compatible server; `/chat/completions` is added.")
        .Required()
        .Example("https://models.example.org/v1"),
    Key<&VisionLanguageConfig::model>("model", kText)
        .Says("The model's name there.")
        .Required()
        .AffectsResults()
        .Example("qwen2.5-vl-7b"),
    Key<&VisionLanguageConfig::key>("key", kSecret)
        .Says("The key that is sent along. It is never printed.")
        .Unset("none is sent")
        .Example("${env:MODEL_KEY}"),
    Key<&VisionLanguageConfig::ask>("ask", kText)
        .Says("The question; how to answer is added to it.")
        .AffectsResults()
        .Unset("one made of the labels")
        .Example("Is there fire or smoke in this picture?"),
    Key<&VisionLanguageConfig::answer>("answer", kChoice)
        .Says("One of the model's `labels`, any number of them, or boxes with one each.")
        .AffectsResults()
        .OneOf(kAnswerKinds),
    Key<&VisionLanguageConfig::may_find_none>("may_find_none", kBool)
        .Says("With `one`: none of the labels is an answer, too.")
        .AffectsResults(),
    Key<&VisionLanguageConfig::box_unit>("box_unit", kChoice)
        .Says(
            "With `boxes`: what their numbers are, which each model was trained on one way or the "
            "other: thousandths of the picture's sides, or pixels of the picture as it is sent.")
        .AffectsResults()
        .OneOf(kBoxUnits),
    Key<&VisionLanguageConfig::max_boxes>("max_boxes", kInteger)
        .Says("With `boxes`: most of an answer that are taken, the surest first.")
        .AffectsResults()
        .Range(1, 1000),
    Key<&VisionLanguageConfig::max_side>("max_side", kInteger)
        .Says("Larger pictures are scaled down to this many pixels before they are sent.")
        .AffectsResults()
        .Range(64, 4096),
    Key<&VisionLanguageConfig::timeout_us>("timeout", kDuration)
        .Says("How long a picture may wait for its answer, retries included.")
        .Range(kSecondUs / 10, 600 * kSecondUs),
    Key<&VisionLanguageConfig::max_at_once>("max_at_once", kInteger)
        .Says("Most requests at a time.")
        .Range(1, 64),
    Key<&VisionLanguageConfig::requests_per_minute>("requests_per_minute", kInteger)
        .Says("Beyond the budget nothing is asked; it is counted.")
        .Range(0, 1e9)
        .Unset(kNoLimit),
    Key<&VisionLanguageConfig::requests_per_hour>("requests_per_hour", kInteger)
        .Says("The same for an hour.")
        .Range(0, 1e9)
        .Unset(kNoLimit),
    Key<&VisionLanguageConfig::requests_per_day>("requests_per_day", kInteger)
        .Says("The same for a day of UTC.")
        .Range(0, 1e9)
        .Unset(kNoLimit),
    Key<&VisionLanguageConfig::tokens_per_day>("tokens_per_day", kInteger)
        .Says("Tokens of questions and answers, as the server counts them, in a day of UTC.")
        .Range(0, 1e12)
        .Unset(kNoLimit),
    Key<&VisionLanguageConfig::cache_entries>("cache_entries", kInteger)
        .Says("Most answers that are remembered for pictures that come again; 0 is none.")
        .Range(0, 1e6),
    Key<&VisionLanguageConfig::cache_ttl_us>("cache_ttl", kDuration)
        .Says("How long they are.")
        .Range(0, 30 * kDayUs),
    Key<&VisionLanguageConfig::ca_file>("ca", kPath)
        .Says("Certificates (PEM) of who may vouch for the server.")
        .Unset("those that the system trusts")
        .Example("site-ca.pem"),
};

}  // namespace

constexpr Section kVisionLanguage = {
    "models[].vision_language",
    "A vision-language model on another machine, behind an OpenAI-compatible endpoint; the model's "
    "`labels` are the answers that it may give. docs/vision_language_models.md.",
    kVisionLanguageFields};
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
