// The look of the report: colours and sizes, in one place.
#pragma once

#include "observe/canvas.h"

namespace sightline::report_style {

inline constexpr int kPageWidth = 1600;
inline constexpr int kPageHeight = 1000;
inline constexpr float kMargin = 24;
inline constexpr float kGap = 16;
inline constexpr float kPadding = 16;

inline constexpr Color kBackground{243, 245, 248};
inline constexpr Color kCard{255, 255, 255};
inline constexpr Color kBorder{221, 226, 233};
inline constexpr Color kInk{28, 37, 48};
inline constexpr Color kMuted{100, 112, 126};
inline constexpr Color kGrid{232, 236, 241};
inline constexpr Color kDark{22, 27, 34};
inline constexpr Color kWhite{255, 255, 255};
inline constexpr Color kLine{255, 196, 0};
inline constexpr Color kZone{0, 200, 170};

inline constexpr TextStyle kTitle{.size_px = 17, .color = kInk, .bold = true};
inline constexpr TextStyle kSubtitle{.size_px = 9.5f, .color = kMuted};
inline constexpr TextStyle kHeading{.size_px = 10.5f, .color = kInk, .bold = true};
inline constexpr TextStyle kBody{.size_px = 9.5f, .color = kInk};
inline constexpr TextStyle kSmall{.size_px = 8.5f, .color = kMuted};
inline constexpr TextStyle kFigure{.size_px = 19, .color = kInk, .bold = true};

inline TextStyle Aligned(TextStyle style, Align align) {
  style.align = align;
  return style;
}
inline TextStyle Colored(TextStyle style, Color color) {
  style.color = color;
  return style;
}

}  // namespace sightline::report_style
