// What `sightline eval` says: tables for people, JSON for programs.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evaluate/detection_accuracy.h"
#include "evaluate/label_accuracy.h"
#include "evaluate/mot_accuracy.h"
#include "evaluate/run_accuracy.h"
#include "evaluate/semantic_accuracy.h"

namespace sightline::cli {

struct NamedMotReport {
  std::string name;
  evaluate::MotReport report;
};

// One perturbation of the pictures and what was found in them.
struct RobustnessRow {
  std::string perturbation;
  int severity = 1;
  evaluate::DetectionReport report;
};

// A line to people, on standard error.
void Note(const std::string& text);

// Tables, each line with an end.
std::string TrackTable(const std::vector<NamedMotReport>& rows);
std::string BoxTable(const evaluate::DetectionReport& report,
                     const std::map<int32_t, std::string>& class_names,
                     const std::string& what = "boxes");
// How much of `clean` is kept.
std::string RobustnessTable(const evaluate::DetectionReport& clean,
                            const std::vector<RobustnessRow>& rows);
std::string LabelTable(const evaluate::LabelReport& report,
                       const std::map<int32_t, std::string>& class_names);
std::string SegmentTable(const evaluate::SemanticReport& report,
                         const std::map<int32_t, std::string>& class_names);
std::string CrossingTable(const std::vector<evaluate::CrossingCount>& crossings);

nlohmann::ordered_json TrackJson(const NamedMotReport& row);
nlohmann::ordered_json BoxJson(const evaluate::DetectionReport& report,
                               const std::map<int32_t, std::string>& class_names);
nlohmann::ordered_json RobustnessJson(const evaluate::DetectionReport& clean,
                                      const std::vector<RobustnessRow>& rows);
nlohmann::ordered_json LabelJson(const evaluate::LabelReport& report,
                                 const std::map<int32_t, std::string>& class_names);
nlohmann::ordered_json SegmentJson(const evaluate::SemanticReport& report,
                                   const std::map<int32_t, std::string>& class_names);
nlohmann::ordered_json CrossingJson(const std::vector<evaluate::CrossingCount>& crossings);

}  // namespace sightline::cli
