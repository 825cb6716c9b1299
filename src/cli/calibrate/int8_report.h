// What a trial of INT8 says: to people, and as report.json beside the model.
//
// Threads: reentrant. Errors: none.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cli/calibrate/int8_trial.h"

namespace sightline::cli {

struct TrialWords {
  std::string model;     // the fp32 model's name
  std::string promoted;  // the name in the store; empty: it was refused
  std::string kept_at;   // a folder; empty: none was asked for
};

// This machine's processor, and which INT8 instructions it has: "AMD EPYC (avx2, avx512_vnni)".
// "unknown" where the system does not say.
std::string ProcessorWords();

nlohmann::ordered_json TrialJson(const TrialOptions& options, const TrialResult& result,
                                 const TrialWords& words);

// Lines with an end.
std::string TrialText(const TrialOptions& options, const TrialResult& result);

}  // namespace sightline::cli
