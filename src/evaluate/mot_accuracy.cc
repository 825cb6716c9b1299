#include "evaluate/mot_accuracy.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sightline::evaluate {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
constexpr double kThreshold = 0.5;

double Share(double part, double whole) { return part / std::max(1.0, whole); }
double Share(int64_t part, int64_t whole) {
  return Share(static_cast<double>(part), static_cast<double>(whole));
}

// As TrackEval computes it: by corners, boxes without area overlap with nothing.
double IntersectionOverUnion(const PlacedBox& a, const PlacedBox& b) {
  const double ax2 = a.x + a.width;
  const double ay2 = a.y + a.height;
  const double bx2 = b.x + b.width;
  const double by2 = b.y + b.height;
  const double width = std::min(ax2, bx2) - std::max(a.x, b.x);
  const double height = std::min(ay2, by2) - std::max(a.y, b.y);
  if (width <= 0 || height <= 0) return 0;
  const double shared = width * height;
  const double a_area = (ax2 - a.x) * (ay2 - a.y);
  const double b_area = (bx2 - b.x) * (by2 - b.y);
  const double both = a_area + b_area - shared;
  if (a_area <= kEpsilon || b_area <= kEpsilon || both <= kEpsilon) return 0;
  return shared / both;
}

template <typename Boxes>
absl::Status CheckIds(const Boxes& boxes, const char* whose, std::vector<int64_t>* ids) {
  ids->clear();
  for (const auto& box : boxes) ids->push_back(box.id);
  std::sort(ids->begin(), ids->end());
  const auto twice = std::adjacent_find(ids->begin(), ids->end());
  if (twice == ids->end()) return absl::OkStatus();
  return InvalidArgument("{} id {} comes twice in one frame", whose, *twice);
}

int32_t IndexOf(int64_t id, std::unordered_map<int64_t, int32_t>* index) {
  return index->try_emplace(id, static_cast<int32_t>(index->size())).first->second;
}

uint64_t KeyOf(int32_t truth, int32_t found) {
  return static_cast<uint64_t>(static_cast<uint32_t>(truth)) << 32 | static_cast<uint32_t>(found);
}

}  // namespace

double MotReport::Mota() const {
  return Share(matches - false_boxes - id_switches, matches + misses);
}
double MotReport::Motp() const { return Share(overlap_sum, static_cast<double>(matches)); }
double MotReport::Recall() const { return Share(matches, matches + misses); }
double MotReport::Precision() const { return Share(matches, matches + false_boxes); }
double MotReport::IdRecall() const { return Share(id_matches, id_matches + id_misses); }
double MotReport::IdPrecision() const { return Share(id_matches, id_matches + id_false); }
double MotReport::Idf1() const {
  return Share(static_cast<double>(id_matches),
               static_cast<double>(id_matches) + 0.5 * static_cast<double>(id_misses + id_false));
}

namespace {

double DetAOf(const MotReport::Hota& h) {
  return Share(h.matches, h.matches + h.misses + h.false_boxes);
}

template <typename Value>
double MeanOfAlphas(const MotReport& report, Value value) {
  double sum = 0;
  for (const MotReport::Hota& h : report.hota) sum += value(h);
  return sum / MotReport::kAlphas;
}

}  // namespace

double MotReport::HotaMean() const {
  return MeanOfAlphas(*this, [](const Hota& h) { return std::sqrt(DetAOf(h) * h.association); });
}
double MotReport::DetA() const { return MeanOfAlphas(*this, DetAOf); }
double MotReport::AssA() const {
  return MeanOfAlphas(*this, [](const Hota& h) { return h.association; });
}
double MotReport::LocA() const {
  // 1 where nothing matched, as TrackEval has it.
  return MeanOfAlphas(*this, [](const Hota& h) {
    return std::max(1e-10, h.overlap_sum) / std::max(1e-10, static_cast<double>(h.matches));
  });
}

MotReport Combine(std::span<const MotReport> sequences) {
  MotReport all;
  for (const MotReport& one : sequences) {
    all.frames += one.frames;
    all.truth_boxes += one.truth_boxes;
    all.truth_ids += one.truth_ids;
    all.found_boxes += one.found_boxes;
    all.found_ids += one.found_ids;
    all.matches += one.matches;
    all.misses += one.misses;
    all.false_boxes += one.false_boxes;
    all.id_switches += one.id_switches;
    all.fragments += one.fragments;
    all.mostly_tracked += one.mostly_tracked;
    all.partly_tracked += one.partly_tracked;
    all.mostly_lost += one.mostly_lost;
    all.overlap_sum += one.overlap_sum;
    all.id_matches += one.id_matches;
    all.id_misses += one.id_misses;
    all.id_false += one.id_false;
    for (size_t a = 0; a < all.hota.size(); ++a) {
      MotReport::Hota& to = all.hota[a];
      const MotReport::Hota& from = one.hota[a];
      const auto weight = static_cast<double>(from.matches);
      to.matches += from.matches;
      to.misses += from.misses;
      to.false_boxes += from.false_boxes;
      to.overlap_sum += from.overlap_sum;
      to.association += from.association * weight;
      to.association_recall += from.association_recall * weight;
      to.association_precision += from.association_precision * weight;
    }
  }
  for (MotReport::Hota& h : all.hota) {
    const double matches = std::max(1.0, static_cast<double>(h.matches));
    h.association /= matches;
    h.association_recall /= matches;
    h.association_precision /= matches;
  }
  return all;
}

absl::Status MotAccuracy::AddFrame(std::span<const TruthTrackBox> truth,
                                   std::span<const FoundTrackBox> found) {
  if (truth.size() > kMostBoxesAFrame || found.size() > kMostBoxesAFrame) {
    return ResourceExhausted("{} true and {} found boxes in one frame; at most {} are possible",
                             truth.size(), found.size(), kMostBoxesAFrame);
  }
  SL_RETURN_IF_ERROR(CheckIds(truth, "true", &ids_));
  SL_RETURN_IF_ERROR(CheckIds(found, "found", &ids_));
  SL_RETURN_IF_ERROR(TakeExcused(truth, found));
  TakeFrame(truth, found);
  if (pairs_.size() > max_pairs_) {
    return ResourceExhausted("more than {} overlaps between boxes; evaluate parts of the sequence",
                             max_pairs_);
  }
  ScoreClear(frames_.back());
  return absl::OkStatus();
}

// Found boxes that are best matched to an excuse do not count. All truth takes part in the matching,
// so that who stands in front of a poster is not taken for the poster.
absl::Status MotAccuracy::TakeExcused(std::span<const TruthTrackBox> truth,
                                      std::span<const FoundTrackBox> found) {
  excused_.assign(found.size(), 0);
  const bool any = std::any_of(truth.begin(), truth.end(), [](const TruthTrackBox& box) {
    return box.role == TruthRole::kExcuses;
  });
  if (!any) return absl::OkStatus();
  assignment_.Begin(static_cast<int>(truth.size()), static_cast<int>(found.size()), 0);
  for (size_t t = 0; t < truth.size(); ++t) {
    for (size_t f = 0; f < found.size(); ++f) {
      const double overlap = IntersectionOverUnion(truth[t].box_px, found[f].box_px);
      if (overlap < kThreshold - kEpsilon) continue;
      assignment_.Add(static_cast<int>(t), static_cast<int>(f), -overlap);
    }
  }
  assignment_.Solve();
  for (size_t f = 0; f < found.size(); ++f) {
    const int32_t match = assignment_.row_of_column()[f];
    if (match == Assignment::kNone) continue;
    excused_[f] = truth[static_cast<size_t>(match)].role == TruthRole::kExcuses ? 1 : 0;
  }
  return absl::OkStatus();
}

// Keeps what counts of a frame: ids as indices, and the pairs that overlap.
void MotAccuracy::TakeFrame(std::span<const TruthTrackBox> truth,
                            std::span<const FoundTrackBox> found) {
  frames_.push_back({truth_ids_.size(), found_ids_.size(), pairs_.size()});
  for (size_t f = 0; f < found.size(); ++f) {
    if (excused_[f] != 0) continue;
    const int32_t index = IndexOf(found[f].id, &found_index_);
    found_count_.resize(found_index_.size());
    ++found_count_[static_cast<size_t>(index)];
    found_ids_.push_back(index);
  }
  int32_t truth_place = 0;
  for (const TruthTrackBox& box : truth) {
    if (box.role != TruthRole::kCounts) continue;
    const int32_t index = IndexOf(box.id, &truth_index_);
    truth_states_.resize(truth_index_.size());
    ++truth_states_[static_cast<size_t>(index)].boxes;
    truth_ids_.push_back(index);
    int32_t found_place = 0;
    for (size_t f = 0; f < found.size(); ++f) {
      if (excused_[f] != 0) continue;
      const double overlap = IntersectionOverUnion(box.box_px, found[f].box_px);
      if (overlap > 0) pairs_.push_back({truth_place, found_place, overlap});
      ++found_place;
    }
    ++truth_place;
  }
}

void MotAccuracy::ScoreClear(const Frame& frame) {
  const size_t truths = truth_ids_.size() - frame.truth_begin;
  const size_t founds = found_ids_.size() - frame.found_begin;
  ++clear_.frames;
  clear_.truth_boxes += static_cast<int64_t>(truths);
  clear_.found_boxes += static_cast<int64_t>(founds);
  clear_.misses += static_cast<int64_t>(truths);
  clear_.false_boxes += static_cast<int64_t>(founds);
  // A frame without truth or without boxes leaves what is tracked as it was, as in TrackEval.
  if (truths == 0 || founds == 0) return;

  const std::span<const Pair> pairs = std::span<const Pair>(pairs_).subspan(frame.pairs_begin);
  const int32_t* const truth_ids = truth_ids_.data() + frame.truth_begin;
  const int32_t* const found_ids = found_ids_.data() + frame.found_begin;
  assignment_.Begin(static_cast<int>(truths), static_cast<int>(founds), 0);
  for (const Pair& pair : pairs) {
    if (pair.overlap < kThreshold - kEpsilon) continue;
    // Whoever was matched in the last frame stays matched if that is possible at all.
    constexpr double kStay = 1000;
    const bool stays = truth_states_[static_cast<size_t>(truth_ids[pair.truth])].current_found ==
                       found_ids[pair.found];
    assignment_.Add(pair.truth, pair.found, -((stays ? kStay : 0) + pair.overlap));
  }
  assignment_.Solve();

  std::vector<int32_t> tracked;
  for (const Pair& pair : pairs) {
    if (assignment_.column_of_row()[static_cast<size_t>(pair.truth)] != pair.found) continue;
    const int32_t truth = truth_ids[pair.truth];
    const int32_t found = found_ids[pair.found];
    TruthState& state = truth_states_[static_cast<size_t>(truth)];
    if (state.last_found >= 0 && state.last_found != found) ++clear_.id_switches;
    if (state.current_found < 0) ++state.runs;
    ++state.matched;
    state.last_found = found;
    ++clear_.matches;
    clear_.overlap_sum += pair.overlap;
    tracked.push_back(truth);
  }
  clear_.misses -= static_cast<int64_t>(tracked.size());
  clear_.false_boxes -= static_cast<int64_t>(tracked.size());
  for (const int32_t truth : tracked_before_) {
    truth_states_[static_cast<size_t>(truth)].current_found = -1;
  }
  for (const int32_t truth : tracked) {
    TruthState& state = truth_states_[static_cast<size_t>(truth)];
    state.current_found = state.last_found;
  }
  tracked_before_ = std::move(tracked);
}

void MotAccuracy::ForEachFrame(
    const std::function<void(std::span<const int32_t>, std::span<const int32_t>,
                             std::span<const Pair>)>& take) const {
  for (size_t i = 0; i < frames_.size(); ++i) {
    const Frame& begin = frames_[i];
    const Frame end = i + 1 < frames_.size()
                          ? frames_[i + 1]
                          : Frame{truth_ids_.size(), found_ids_.size(), pairs_.size()};
    take(std::span<const int32_t>(truth_ids_)
             .subspan(begin.truth_begin, end.truth_begin - begin.truth_begin),
         std::span<const int32_t>(found_ids_)
             .subspan(begin.found_begin, end.found_begin - begin.found_begin),
         std::span<const Pair>(pairs_).subspan(begin.pairs_begin,
                                               end.pairs_begin - begin.pairs_begin));
  }
}

// Each true id has at most one found id over the whole sequence, so that most boxes agree.
void MotAccuracy::ScoreIdentity(MotReport* report) const {
  std::unordered_map<uint64_t, int64_t> together;
  ForEachFrame([&](std::span<const int32_t> truth, std::span<const int32_t> found,
                   std::span<const Pair> pairs) {
    for (const Pair& pair : pairs) {
      if (pair.overlap < kThreshold) continue;
      ++together[KeyOf(truth[static_cast<size_t>(pair.truth)],
                       found[static_cast<size_t>(pair.found)])];
    }
  });
  std::vector<std::pair<uint64_t, int64_t>> sorted(together.begin(), together.end());
  std::sort(sorted.begin(), sorted.end());
  Assignment assignment;
  assignment.Begin(static_cast<int>(truth_index_.size()), static_cast<int>(found_index_.size()), 0);
  for (const auto& [key, boxes] : sorted) {
    assignment.Add(static_cast<int>(key >> 32), static_cast<int>(key & 0xFFFFFFFFU),
                   -static_cast<double>(boxes));
  }
  assignment.Solve();
  for (size_t truth = 0; truth < truth_index_.size(); ++truth) {
    const int32_t found = assignment.column_of_row()[truth];
    if (found == Assignment::kNone) continue;
    report->id_matches += together.at(KeyOf(static_cast<int32_t>(truth), found));
  }
  report->id_misses = report->truth_boxes - report->id_matches;
  report->id_false = report->found_boxes - report->id_matches;
}

void MotAccuracy::ScoreHota(MotReport* report) const {
  // How well two ids go together over the whole sequence, before any matching.
  std::unordered_map<uint64_t, double> together;
  std::vector<double> truth_sum;
  std::vector<double> found_sum;
  ForEachFrame([&](std::span<const int32_t> truth, std::span<const int32_t> found,
                   std::span<const Pair> pairs) {
    truth_sum.assign(truth.size(), 0);
    found_sum.assign(found.size(), 0);
    for (const Pair& pair : pairs) {
      truth_sum[static_cast<size_t>(pair.truth)] += pair.overlap;
      found_sum[static_cast<size_t>(pair.found)] += pair.overlap;
    }
    for (const Pair& pair : pairs) {
      const double all = found_sum[static_cast<size_t>(pair.found)] +
                         truth_sum[static_cast<size_t>(pair.truth)] - pair.overlap;
      if (all <= kEpsilon) continue;
      together[KeyOf(truth[static_cast<size_t>(pair.truth)],
                     found[static_cast<size_t>(pair.found)])] += pair.overlap / all;
    }
  });
  for (auto& [key, shared] : together) {
    const int64_t boxes = truth_states_[key >> 32].boxes + found_count_[key & 0xFFFFFFFFU];
    shared /= static_cast<double>(boxes) - shared;
  }

  std::unordered_map<uint64_t, std::array<int64_t, MotReport::kAlphas>> matched;
  Assignment assignment;
  ForEachFrame([&](std::span<const int32_t> truth, std::span<const int32_t> found,
                   std::span<const Pair> pairs) {
    assignment.Begin(static_cast<int>(truth.size()), static_cast<int>(found.size()), 0);
    const auto key_of = [&](const Pair& pair) {
      return KeyOf(truth[static_cast<size_t>(pair.truth)], found[static_cast<size_t>(pair.found)]);
    };
    for (const Pair& pair : pairs) {
      const auto at = together.find(key_of(pair));
      if (at == together.end()) continue;
      assignment.Add(pair.truth, pair.found, -(at->second * pair.overlap));
    }
    assignment.Solve();
    for (const Pair& pair : pairs) {
      if (assignment.column_of_row()[static_cast<size_t>(pair.truth)] != pair.found) continue;
      auto& counts = matched[key_of(pair)];
      for (size_t a = 0; a < report->hota.size(); ++a) {
        const double alpha = 0.05 + static_cast<double>(a) * 0.05;
        if (pair.overlap < alpha - kEpsilon) break;
        ++counts[a];
        ++report->hota[a].matches;
        report->hota[a].overlap_sum += pair.overlap;
      }
    }
  });

  std::vector<std::pair<uint64_t, std::array<int64_t, MotReport::kAlphas>>> sorted(matched.begin(),
                                                                                   matched.end());
  std::sort(sorted.begin(), sorted.end());  // a sum that depends on no hash
  for (size_t a = 0; a < report->hota.size(); ++a) {
    MotReport::Hota& h = report->hota[a];
    h.misses = report->truth_boxes - h.matches;
    h.false_boxes = report->found_boxes - h.matches;
    for (const auto& [key, counts] : sorted) {
      const auto count = static_cast<double>(counts[a]);
      const auto truth_boxes = static_cast<double>(truth_states_[key >> 32].boxes);
      const auto found_boxes = static_cast<double>(found_count_[key & 0xFFFFFFFFU]);
      h.association += count * Share(count, truth_boxes + found_boxes - count);
      h.association_recall += count * Share(count, truth_boxes);
      h.association_precision += count * Share(count, found_boxes);
    }
    const double matches = std::max(1.0, static_cast<double>(h.matches));
    h.association /= matches;
    h.association_recall /= matches;
    h.association_precision /= matches;
  }
}

MotReport MotAccuracy::Report() const {
  MotReport report = clear_;
  report.truth_ids = static_cast<int64_t>(truth_index_.size());
  report.found_ids = static_cast<int64_t>(found_index_.size());
  for (const TruthState& state : truth_states_) {
    const double share = Share(state.matched, state.boxes);
    if (share > 0.8) {
      ++report.mostly_tracked;
    } else if (share >= 0.2) {
      ++report.partly_tracked;
    } else {
      ++report.mostly_lost;
    }
    if (state.runs > 0) report.fragments += state.runs - 1;
  }
  ScoreIdentity(&report);
  ScoreHota(&report);
  return report;
}

}  // namespace sightline::evaluate
