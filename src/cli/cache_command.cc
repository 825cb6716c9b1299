// sightline cache audit: what answers by likeness would cost in wrong ones.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/eval_model.h"
#include "cli/run_in_order.h"
#include "cli/standard_output.h"
#include "cli/started_model.h"
#include "evaluate/agreement.h"
#include "evaluate/cache_audit.h"
#include "evaluate/label_files.h"
#include "media/image_codec.h"
#include "vision/perceptual_hash.h"

namespace sightline::cli {
namespace {

using evaluate::CacheAuditRow;

constexpr size_t kMostPictures = 20'000;  // the work grows with their square
constexpr double kEmbeddingStep = 0.01;   // of the radii that are tried

struct AuditArguments {
  std::string images, labels, model, embedder, backend;
  std::string kind = "perceptual", hash = "phash";
  double radius = -1;  // the largest; below 0: by the kind
  double confidence = -1;
  int threads = 0;
  bool json = false;
};

struct AuditedPicture {
  std::string path;
  int width = 0, height = 0;
  PerceptualHash hash;
  evaluate::PictureResults results;
  std::vector<float> embedding;
  int32_t label = -1;
};

// The pictures below a folder, by path.
absl::StatusOr<std::vector<AuditedPicture>> PicturesBelow(const std::string& folder) {
  std::error_code error;
  std::filesystem::recursive_directory_iterator at(folder, error), end;
  if (error) return NotFound("{}: {}", folder, error.message());
  std::vector<AuditedPicture> pictures;
  for (; at != end && !error; at.increment(error)) {
    std::error_code unreadable;  // a link that leads nowhere is no picture
    if (!at->is_regular_file(unreadable) || !HasImageExtension(at->path().string())) continue;
    pictures.push_back({.path = at->path().string()});
  }
  if (error) return FailedPrecondition("{}: {}", folder, error.message());
  if (pictures.empty()) return NotFound("{}: there are no pictures", folder);
  if (pictures.size() > kMostPictures) {
    return InvalidArgument("{}: {} pictures; {} are possible, for each is compared with each",
                           folder, pictures.size(), kMostPictures);
  }
  std::ranges::sort(pictures, {}, &AuditedPicture::path);
  return pictures;
}

// Leaves out those that cannot be read, and says so.
absl::Status LookAt(HashKind kind, std::vector<AuditedPicture>& pictures) {
  const auto is_bad = [&](AuditedPicture& picture) {
    const absl::StatusOr<DecodedImage> image = ReadImage(picture.path);
    if (!image.ok()) {
      Log().warn("left out: {}", MessageOf(image.status()));
      return true;
    }
    picture.width = image->width;
    picture.height = image->height;
    const auto hash = HashPicture(image->view(), kind);
    if (hash.ok()) picture.hash = *hash;
    return false;
  };
  std::erase_if(pictures, is_bad);
  if (pictures.empty()) return DataLoss("none of the pictures can be read");
  return absl::OkStatus();
}

// What the model says of each, in order.
absl::Status RunModel(const ModelChoice& choice, std::vector<AuditedPicture>& pictures,
                      const std::function<void(AuditedPicture&, Detections&&)>& take) {
  SL_ASSIGN_OR_RETURN(const StartedModel model, StartModel(choice));
  return RunInOrder(
      model, pictures.size(), "audit",
      [&](size_t i) -> absl::StatusOr<Frame> {
        SL_ASSIGN_OR_RETURN(DecodedImage image, ReadImage(pictures[i].path));
        return FrameOfBgr(image.width, image.height, std::move(image.bgr));
      },
      [&](size_t i, const Frame&, Detections&& found) {
        take(pictures[i], std::move(found));
        return absl::OkStatus();
      });
}

// Of each picture the class that a folder of folders, or rows, say.
absl::Status TakeLabels(const std::string& path, std::vector<AuditedPicture>& pictures) {
  SL_ASSIGN_OR_RETURN(const evaluate::LabelTruth truth,
                      evaluate::ReadLabelTruth(path, PictureFileAccess().is_picture));
  size_t found = 0;
  for (size_t i = 0; i < truth.pictures.size(); ++i) {
    for (AuditedPicture& picture : pictures) {
      const std::string& name = truth.pictures[i];
      const bool is_it =
          picture.path == name || (picture.path.ends_with(name) &&
                                   picture.path[picture.path.size() - name.size() - 1] == '/');
      if (!is_it) continue;
      picture.label = truth.classes[i];
      ++found;
    }
  }
  if (found == pictures.size()) return absl::OkStatus();
  const size_t without =
      static_cast<size_t>(std::ranges::count(pictures, -1, &AuditedPicture::label));
  if (without == pictures.size())
    return InvalidArgument("{}: none of its pictures is below --images", path);
  std::erase_if(pictures, [](const AuditedPicture& picture) { return picture.label < 0; });
  if (without > 0) Log().warn("{} pictures have no label and are left out", without);
  return absl::OkStatus();
}

double CosineDistance(const std::vector<float>& a, const std::vector<float>& b) {
  double dot = 0;
  for (size_t i = 0; i < a.size(); ++i) dot += static_cast<double>(a[i]) * b[i];
  return std::max(0.0, 1 - dot);
}

// As the cache compares them: boxes are in pixels, so that pictures of other sizes have other ones.
std::optional<double> DistanceOf(const AuditedPicture& a, const AuditedPicture& b, bool by_size,
                                 bool by_embedding) {
  if (by_size && (a.width != b.width || a.height != b.height)) return std::nullopt;
  if (by_embedding) {
    if (a.embedding.empty() || a.embedding.size() != b.embedding.size()) return std::nullopt;
    return CosineDistance(a.embedding, b.embedding);
  }
  if (a.hash.bits == 0 || b.hash.bits == 0) return std::nullopt;
  const bool is_pdq = a.hash.bits == BitsOf(HashKind::kPdq);
  if (is_pdq && std::min(a.hash.quality, b.hash.quality) < kLeastPdqQuality) return std::nullopt;
  return HammingDistance(a.hash, b.hash);
}

bool Differs(const AuditedPicture& asked, const AuditedPicture& kept) {
  const evaluate::PictureAgreement agreement = evaluate::Compare(asked.results, kept.results);
  return agreement.shared != agreement.reference || agreement.shared != agreement.other;
}

std::vector<double> RadiiOf(const AuditArguments& arguments, bool by_embedding, int bits) {
  std::vector<double> radii;
  if (by_embedding) {
    const double most = arguments.radius >= 0 ? arguments.radius : 0.3;
    for (int i = 0; i * kEmbeddingStep <= most + 1e-9; ++i) radii.push_back(i * kEmbeddingStep);
    return radii;
  }
  const double most = arguments.radius >= 0 ? arguments.radius : bits / 4.0;
  const int step = bits > 64 ? 4 : 1;
  for (int i = 0; i <= most; i += step) radii.push_back(i);
  return radii;
}

void Print(const AuditArguments& arguments, const std::vector<CacheAuditRow>& rows) {
  const bool has_answers = !arguments.model.empty(), has_labels = !arguments.labels.empty();
  if (arguments.json) {
    nlohmann::json all = {{"kind", arguments.kind}, {"pictures", rows[0].pictures}};
    if (arguments.kind == "perceptual") all["hash"] = arguments.hash;
    for (const CacheAuditRow& row : rows) {
      nlohmann::json one = {
          {"radius", row.radius}, {"hits", row.hits}, {"hit_rate", row.hit_rate()}};
      if (has_answers) one["wrong_answers"] = row.other_answers;
      if (has_answers) one["wrong_answer_share"] = row.wrong_answers();
      if (has_labels) one["wrong_labels"] = row.other_labels;
      if (has_labels) one["wrong_label_share"] = row.wrong_labels();
      all["radii"].push_back(std::move(one));
    }
    PrintOut("{}\n", all.dump());
    return;
  }
  PrintOut("{} pictures, {}{}\n", rows[0].pictures, arguments.kind,
           arguments.kind == "perceptual" ? ", " + arguments.hash : "");
  PrintOut("{:>7} {:>7} {:>9}{}{}\n", "radius", "hits", "hit rate",
           has_answers ? fmt::format(" {:>16}", "other answer") : "",
           has_labels ? fmt::format(" {:>16}", "other label") : "");
  for (const CacheAuditRow& row : rows) {
    const auto share = [](int64_t count, double part) {
      return fmt::format(" {:>7} {:>6.1f} %", count, 100 * part);
    };
    PrintOut("{:>7} {:>7} {:>7.1f} %{}{}\n", row.radius, row.hits, 100 * row.hit_rate(),
             has_answers ? share(row.other_answers, row.wrong_answers()) : "",
             has_labels ? share(row.other_labels, row.wrong_labels()) : "");
  }
}

absl::Status Audit(const AuditArguments& arguments) {
  const bool by_embedding = arguments.kind == "embedding";
  if (by_embedding && arguments.embedder.empty()) {
    return InvalidArgument("--kind embedding wants an --embedder, a model that gives embeddings");
  }
  if (arguments.model.empty() && arguments.labels.empty()) {
    return InvalidArgument("nothing says what is right: --model, --labels or both");
  }
  SL_ASSIGN_OR_RETURN(const HashKind kind, HashKindNamed(arguments.hash));
  SL_ASSIGN_OR_RETURN(std::vector<AuditedPicture> pictures, PicturesBelow(arguments.images));
  SL_RETURN_IF_ERROR(LookAt(kind, pictures));
  if (!arguments.labels.empty()) SL_RETURN_IF_ERROR(TakeLabels(arguments.labels, pictures));
  bool by_size = false;
  ModelChoice choice{.backend = arguments.backend, .threads = arguments.threads};
  if (!arguments.model.empty()) {
    choice.model = arguments.model;
    choice.confidence = arguments.confidence;
    SL_RETURN_IF_ERROR(RunModel(choice, pictures, [&](AuditedPicture& picture, Detections&& found) {
      by_size |= found.classes.empty() && found.embedding.empty();
      picture.results.boxes = std::move(found.items);
      if (!found.classes.empty()) picture.results.surest_class = found.classes[0];
      picture.results.embedding = std::move(found.embedding);
    }));
  }
  if (by_embedding) {
    choice.model = arguments.embedder;
    choice.confidence = -1;
    SL_RETURN_IF_ERROR(RunModel(choice, pictures, [](AuditedPicture& picture, Detections&& found) {
      picture.embedding = std::move(found.embedding);
    }));
    if (pictures[0].embedding.empty()) {
      return InvalidArgument("{} gives no embeddings", arguments.embedder);
    }
  }
  evaluate::CacheAuditInput input;
  input.pictures = pictures.size();
  input.distance = [&](size_t a, size_t b) {
    return DistanceOf(pictures[a], pictures[b], by_size, by_embedding);
  };
  if (!arguments.model.empty()) {
    input.answer_differs = [&](size_t asked, size_t kept) {
      return Differs(pictures[asked], pictures[kept]);
    };
  }
  if (!arguments.labels.empty()) {
    input.label_differs = [&](size_t asked, size_t kept) {
      return pictures[asked].label != pictures[kept].label;
    };
  }
  Print(arguments, evaluate::AuditCache(input, RadiiOf(arguments, by_embedding, BitsOf(kind))));
  return absl::OkStatus();
}

}  // namespace

void AddCacheCommand(CLI::App& app, int& exit_code) {
  CLI::App* const cache = app.add_subcommand("cache", "The result cache of `sightline serve`");
  cache->require_subcommand(1);
  CLI::App* const audit = cache->add_subcommand(
      "audit",
      "How many answers of look-alikes would be wrong, by the radius within which they count");
  auto arguments = std::make_shared<AuditArguments>();
  audit
      ->add_option("--images", arguments->images,
                   "a folder of pictures, taken by their paths' order")
      ->required()
      ->check(NotEmpty());
  audit
      ->add_option("--model", arguments->model,
                   "its answer for a picture is compared with that for the look-alike")
      ->check(NotEmpty());
  audit
      ->add_option("--labels", arguments->labels,
                   "true classes: a folder of folders, or rows image,label")
      ->check(NotEmpty());
  audit->add_option("--kind", arguments->kind, "perceptual or embedding [perceptual]")
      ->check(CLI::IsMember({"perceptual", "embedding"}));
  audit->add_option("--hash", arguments->hash, "ahash, dhash, phash or pdq [phash]")
      ->check(CLI::IsMember({"ahash", "dhash", "phash", "pdq"}));
  audit
      ->add_option("--embedder", arguments->embedder,
                   "with --kind embedding: the model that gives them")
      ->check(NotEmpty());
  audit
      ->add_option("--radius", arguments->radius,
                   "the largest that is tried: bits, or 1 - cosine [a quarter of the bits; 0.3]")
      ->check(Between(0, 256));
  audit
      ->add_option("--confidence", arguments->confidence,
                   "of the model's answers [the model's own]")
      ->check(Between(0, 1));
  audit->add_option("--backend", arguments->backend, "which runtime")->check(NotEmpty());
  audit->add_option("--threads", arguments->threads, "0: one a core [0]")
      ->check(WholeBetween(0, 1024));
  audit->add_flag("--json", arguments->json, "one line of JSON");
  audit->footer(
      "Example:\n"
      "  sightline cache audit --images shots/ --model yolox_nano --hash pdq --radius 60\n"
      "Pictures come once each, in order; what a cache of that radius would answer from an earlier "
      "one is\n"
      "wrong where the model's own answer differs. docs/serving_cache.md.");
  audit->callback([arguments, &exit_code] { exit_code = Report(Audit(*arguments)); });
}

}  // namespace sightline::cli
