#include "observe/prometheus_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "observe/process_metrics.h"

namespace sightline {
namespace {

using ::testing::HasSubstr;

constexpr MetricInfo kFrames = {"frames_total", MetricType::kCounter, "Frames\nby \\ way"};
constexpr MetricInfo kAge = {"age_seconds", MetricType::kGauge, "Age"};
constexpr MetricInfo kTime = {"time_seconds", MetricType::kHistogram, "Time"};

TEST(PrometheusTextTest, FamiliesStayTogether) {
  PrometheusText text;
  for (const char* camera : {"a", "b"}) {
    text.Write(kFrames, {{"camera", camera}}, 3);
    text.Write(kAge, {}, 0.25);
  }
  EXPECT_EQ(
      text.Text(),
      "# HELP frames_total Frames\\nby \\\\ way\n# TYPE frames_total counter\n"
      "frames_total{camera=\"a\"} 3\nframes_total{camera=\"b\"} 3\n"
      "# HELP age_seconds Age\n# TYPE age_seconds gauge\nage_seconds 0.25\nage_seconds 0.25\n");
}

TEST(PrometheusTextTest, HistogramsAreCumulative) {
  static constexpr int64_t kBounds[] = {50, 2'500'000};
  Histogram histogram(kBounds);
  for (const int64_t us : {1, 100, 200, 3'000'000}) histogram.Observe(us);
  PrometheusText text;
  text.Write(kTime, {{"stage", "x"}}, histogram.Counts());
  EXPECT_EQ(text.Text(),
            "# HELP time_seconds Time\n# TYPE time_seconds histogram\n"
            "time_seconds_bucket{stage=\"x\",le=\"5e-05\"} 1\n"
            "time_seconds_bucket{stage=\"x\",le=\"2.5\"} 3\n"
            "time_seconds_bucket{stage=\"x\",le=\"+Inf\"} 4\n"
            "time_seconds_sum{stage=\"x\"} 3.000301\ntime_seconds_count{stage=\"x\"} 4\n");
}

TEST(PrometheusTextTest, LabelsAndNumbersAreEscaped) {
  PrometheusText text;
  text.Write(kAge, {{"camera", "a\"b\\c\nd"}, {"x", ""}}, std::numeric_limits<double>::infinity());
  text.Write(kAge, {}, std::numeric_limits<double>::quiet_NaN());
  text.Write(kAge, {}, -1e300);
  text.Write(kAge, {}, 123456789012.0);
  EXPECT_THAT(text.Text(),
              HasSubstr("age_seconds{camera=\"a\\\"b\\\\c\\nd\",x=\"\"} +Inf\n"
                        "age_seconds NaN\nage_seconds -1e+300\nage_seconds 123456789012\n"));
}

TEST(ProcessMetricsTest, TheProcessIsDescribed) {
  PrometheusText text;
  CollectProcessMetrics("1.2", text);
  const std::string all = text.Text();
  EXPECT_THAT(all, HasSubstr("sightline_build_info{version=\"1.2\"} 1\n"));
  for (const char* name : {"process_cpu_seconds_total", "process_resident_memory_bytes",
                           "process_virtual_memory_bytes", "process_open_fds", "process_max_fds",
                           "process_threads", "process_start_time_seconds"}) {
    EXPECT_THAT(all, HasSubstr("\n" + std::string(name) + " "));
  }
}

}  // namespace
}  // namespace sightline
