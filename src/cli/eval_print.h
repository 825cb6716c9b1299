// What `sightline eval` says: tables for people, JSON for programs.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evaluate/detection_accuracy.h"
#include "evaluate/mot_accuracy.h"
#include "evaluate/run_accuracy.h"

namespace sightline::cli {

struct NamedMotReport {
  std::string name;
  evaluate::MotReport report;
};

// Tables, each line with an end.
std::string TrackTable(const std::vector<NamedMotReport>& rows);
std::string BoxTable(const evaluate::DetectionReport& report,
                     const std::map<int32_t, std::string>& class_names);
std::string CrossingTable(const std::vector<evaluate::CrossingCount>& crossings);

nlohmann::ordered_json TrackJson(const NamedMotReport& row);
nlohmann::ordered_json BoxJson(const evaluate::DetectionReport& report,
                               const std::map<int32_t, std::string>& class_names);
nlohmann::ordered_json CrossingJson(const std::vector<evaluate::CrossingCount>& crossings);

}  // namespace sightline::cli
