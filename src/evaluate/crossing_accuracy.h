// Which of the true line crossings were found.
//
// A crossing is found when the results have one of the same line, class and direction not farther
// away in time than the tolerance; each counts once. Earliest first, which finds as many as can be.
// Threads: one at a time. Cost: a sort.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace sightline::evaluate {

class CrossingAccuracy {
 public:
  void AddTrue(const std::string& line, const std::string& object_class, bool forward,
               int64_t frame);
  void AddFound(const std::string& line, const std::string& object_class, bool forward,
                int64_t frame);

  struct Count {
    int64_t truth = 0;
    int64_t found = 0;     // of those
    int64_t invented = 0;  // of the results'
  };
  // By line and class, directions together.
  std::map<std::pair<std::string, std::string>, Count> Report(int64_t tolerance_frames) const;

 private:
  struct Times {
    std::vector<int64_t> truth;
    std::vector<int64_t> found;
  };
  std::map<std::tuple<std::string, std::string, bool>, Times> times_;
};

}  // namespace sightline::evaluate
