// Metrics as text for Prometheus and whatever reads its format.
//
// Source: Prometheus exposition formats, text format 0.0.4. Why not prometheus-cpp:
// docs/decisions/metrics.md. Threads: one at a time. Cost: about 0.2 us a line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"

namespace sightline {

inline constexpr std::string_view kPrometheusContentType =
    "text/plain; version=0.0.4; charset=utf-8";

class PrometheusText final : public MetricWriter {
 public:
  void Write(const MetricInfo& metric, Labels labels, double value) override;
  void Write(const MetricInfo& metric, Labels labels, const HistogramCounts& counts) override;

  // Everything written so far: families in the order of their first values, each with HELP and TYPE.
  std::string Text() const;

 private:
  struct Family {
    MetricInfo info;
    std::string lines;
  };
  std::string& LinesOf(const MetricInfo& metric);

  std::vector<Family> families_;  // some dozens
  size_t last_ = 0;
};

}  // namespace sightline
