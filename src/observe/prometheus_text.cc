#include "observe/prometheus_text.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>
#include <utility>

namespace sightline {
namespace {

std::string_view TypeName(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
  }
  return "untyped";
}

void AppendEscaped(std::string_view text, bool quotes, std::string* to) {
  for (const char c : text) {
    if (c == '\\') {
      *to += "\\\\";
    } else if (c == '\n') {
      *to += "\\n";
    } else if (c == '"' && quotes) {
      *to += "\\\"";
    } else {
      *to += c;
    }
  }
}

void AppendNumber(double value, std::string* to) {
  if (std::isnan(value)) {
    *to += "NaN";
  } else if (std::isinf(value)) {
    *to += value > 0 ? "+Inf" : "-Inf";
  } else if (value == std::floor(value) && std::fabs(value) < 1e15) {
    fmt::format_to(std::back_inserter(*to), "{}", static_cast<int64_t>(value));
  } else {
    fmt::format_to(std::back_inserter(*to), "{}", value);  // the shortest that reads back the same
  }
}

// name{a="1",b="2"} ; `le` comes last where it is not empty.
void AppendSeries(std::string_view name, std::string_view suffix, MetricWriter::Labels labels,
                  std::string_view le, std::string* to) {
  to->append(name).append(suffix);
  char before = '{';
  for (const MetricLabel& label : labels) {
    *to += std::exchange(before, ',');
    to->append(label.name).append("=\"");
    AppendEscaped(label.value, /*quotes=*/true, to);
    *to += '"';
  }
  if (!le.empty()) {
    *to += std::exchange(before, ',');
    to->append("le=\"").append(le).append("\"");
  }
  *to += before == ',' ? "} " : " ";
}

}  // namespace

std::string& PrometheusText::LinesOf(const MetricInfo& metric) {
  // A walk writes its metrics in the same order for every camera.
  for (size_t step = 0; step < families_.size(); ++step) {
    const size_t i = (last_ + step) % families_.size();
    if (families_[i].info.name != metric.name) continue;
    last_ = i;
    return families_[i].lines;
  }
  last_ = families_.size();
  return families_.emplace_back(Family{.info = metric, .lines = {}}).lines;
}

void PrometheusText::Write(const MetricInfo& metric, Labels labels, double value) {
  std::string& lines = LinesOf(metric);
  AppendSeries(metric.name, "", labels, "", &lines);
  AppendNumber(value, &lines);
  lines += '\n';
}

void PrometheusText::Write(const MetricInfo& metric, Labels labels, const HistogramCounts& counts) {
  std::string& lines = LinesOf(metric);
  uint64_t sum = 0;
  std::string le;
  for (size_t i = 0; i <= counts.bounds.size(); ++i) {
    sum += counts.buckets[i];
    le.clear();
    if (i < counts.bounds.size()) {
      AppendNumber(static_cast<double>(counts.bounds[i]) / counts.per_unit, &le);
    } else {
      le = "+Inf";
    }
    AppendSeries(metric.name, "_bucket", labels, le, &lines);
    AppendNumber(static_cast<double>(sum), &lines);
    lines += '\n';
  }
  AppendSeries(metric.name, "_sum", labels, "", &lines);
  AppendNumber(static_cast<double>(counts.sum) / counts.per_unit, &lines);
  lines += '\n';
  AppendSeries(metric.name, "_count", labels, "", &lines);
  AppendNumber(static_cast<double>(sum), &lines);
  lines += '\n';
}

std::string PrometheusText::Text() const {
  std::string text;
  for (const Family& family : families_) {
    text.append("# HELP ").append(family.info.name).append(" ");
    AppendEscaped(family.info.help, /*quotes=*/false, &text);
    text.append("\n# TYPE ").append(family.info.name).append(" ");
    text.append(TypeName(family.info.type)).append("\n").append(family.lines);
  }
  return text;
}

}  // namespace sightline
