#include "observe/accuracy_plots.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace sightline {
namespace {

// How many pixels have that colour (BGR).
int64_t Count(const DrawnPage& page, uint8_t b, uint8_t g, uint8_t r) {
  int64_t count = 0;
  for (size_t i = 0; i + 2 < page.bgr.size(); i += 3) {
    count += page.bgr[i] == b && page.bgr[i + 1] == g && page.bgr[i + 2] == r ? 1 : 0;
  }
  return count;
}

void ExpectWhole(const DrawnPage& page) {
  EXPECT_GT(page.width, 300);
  EXPECT_LE(page.width, 1200);
  EXPECT_GT(page.height, 150);
  EXPECT_LE(page.height, 1200);
  EXPECT_EQ(page.bgr.size(),
            static_cast<size_t>(page.width) * static_cast<size_t>(page.height) * 3);
}

TEST(AccuracyPlots, CurvesOfAnyNumber) {
  for (const size_t classes : {0, 1, 80}) {
    std::vector<PrecisionRecallCurve> curves(
        classes, {.name = "cat", .figure = "0.5", .precision = {1, 0.5, 0}});
    PrecisionRecallCurve mean{.name = "all", .figure = "-", .precision = {}};
    if (classes > 0) mean.precision = curves[0].precision;
    ExpectWhole(DrawPrecisionRecall("title", "subtitle", curves, mean));
  }
  // The first curve has its colour.
  const std::vector<PrecisionRecallCurve> low = {
      {.name = "cat", .figure = "0.1", .precision = std::vector<double>(101, 0.1)}};
  const PrecisionRecallCurve none{.name = "all", .figure = "-", .precision = {}};
  EXPECT_GT(Count(DrawPrecisionRecall("", "", low, none), 180, 119, 31), 300);
}

// The darkest blue is a row whose counts are all in one cell.
TEST(AccuracyPlots, ConfusionOfAnyNumber) {
  for (const size_t classes : {0, 1, 3, 40, 100}) {
    ConfusionPicture picture;
    picture.title = "title";
    picture.more = {"missed"};
    picture.more_rows = {"nothing there"};
    picture.names.assign(classes, "class");
    picture.counts.assign((classes + 1) * (classes + 1), 0);
    for (size_t i = 0; i < classes; ++i) picture.counts[i * (classes + 1) + i] = 1234;
    const DrawnPage page = DrawConfusion(picture);
    ExpectWhole(page);
    const int64_t shown = static_cast<int64_t>(std::min<size_t>(classes, 40));
    EXPECT_GE(Count(page, 156, 81, 8), shown * 100) << classes;
    EXPECT_EQ(Count(page, 156, 81, 8) == 0, classes == 0);
  }
}

}  // namespace
}  // namespace sightline
