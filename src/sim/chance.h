// Numbers of the simulated world that are the same on every machine: hashes in place of random
// engines, and a sine of our own (the last bit of libm's differs between machines and versions).
//
// Only + - * / and comparisons of doubles are used, which IEEE 754 rounds exactly; the module is
// compiled without contraction (FMA). Threads: reentrant.
#pragma once

#include <cstdint>

namespace sightline::sim {

// SplitMix64's mixing step (Steele et al., "Fast splittable pseudorandom number generators", 2014).
constexpr uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}
constexpr uint64_t Mix(uint64_t a, uint64_t b) { return Mix(Mix(a) ^ (b * 0x9e3779b97f4a7c15)); }
constexpr uint64_t Mix(uint64_t a, uint64_t b, uint64_t c) { return Mix(Mix(a, b), c); }

// [0, 1)
constexpr double Unit(uint64_t hash) { return static_cast<double>(hash >> 11) * 0x1.0p-53; }

// A stream of numbers from one seed.
class Chance {
 public:
  explicit constexpr Chance(uint64_t seed) : state_(seed) {}
  constexpr uint64_t Next() { return Mix(state_ += 0x9e3779b97f4a7c15); }
  constexpr double Between(double low, double high) { return low + (high - low) * Unit(Next()); }
  constexpr bool Happens(double probability) { return Unit(Next()) < probability; }
  // 0 .. count-1
  constexpr int Pick(int count) {
    return static_cast<int>(Unit(Next()) * static_cast<double>(count));
  }

 private:
  uint64_t state_;
};

// Largest whole number not above x; |x| < 2^62.
constexpr int64_t Floor(double x) {
  const auto whole = static_cast<int64_t>(x);
  return static_cast<double>(whole) > x ? whole - 1 : whole;
}
constexpr int64_t Round(double x) { return Floor(x + 0.5); }

// The sine of a whole turn: SinTurn(0.25) = 1. A polynomial of the quarter turn (Taylor to x^9),
// within 4e-6.
constexpr double SinTurn(double turns) {
  double part = turns - static_cast<double>(Floor(turns));  // [0, 1)
  double sign = 1;
  if (part >= 0.5) {
    part -= 0.5;
    sign = -1;
  }
  if (part > 0.25) part = 0.5 - part;
  const double x = part * 6.283185307179586;
  const double s = x * x;
  const double sine = x * (1 - s / 6 * (1 - s / 20 * (1 - s / 42 * (1 - s / 72))));
  return sign * sine;
}
constexpr double CosTurn(double turns) { return SinTurn(turns + 0.25); }

constexpr double Clamp(double x, double low, double high) {
  return x < low ? low : (x > high ? high : x);
}

}  // namespace sightline::sim
