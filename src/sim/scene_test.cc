#include "sim/scene.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "sim/chance.h"

namespace sightline::sim {
namespace {

SimOptions Crowd(const char* more = "") {
  return ParseSimUrl(std::string("sim://street?people=24&bicycles=3&cars=4&seed=5") + more).value();
}

bool Same(const Actor& a, const Actor& b) {
  return a.id == b.id && a.kind == b.kind && a.look == b.look && a.x == b.x && a.z == b.z &&
         a.heading_x == b.heading_x && a.steps == b.steps && a.gait == b.gait;
}

TEST(Chance, TheSineIsOne) {
  for (int i = -50; i <= 250; ++i) {
    EXPECT_NEAR(SinTurn(i / 100.0), std::sin(i / 100.0 * 2 * M_PI), 5e-6) << i;
  }
  EXPECT_EQ(Floor(-1.5), -2);
  EXPECT_EQ(Floor(-2.0), -2);
  EXPECT_EQ(Round(2.5), 3);
}

TEST(Scene, TheOrderOfQuestionsDoesNotMatter) {
  const SimOptions options = Crowd();
  Scene forward(options);
  std::vector<std::vector<Actor>> all;
  for (int64_t k = 0; k < 900; ++k) {
    forward.ActorsAt(options.FrameTimeUs(k), &all.emplace_back());
  }
  Scene jumping(options);
  std::vector<Actor> actors;
  for (int i = 0; i < 200; ++i) {
    const auto k = static_cast<int64_t>(Mix(static_cast<uint64_t>(i)) % 900);
    jumping.ActorsAt(options.FrameTimeUs(k), &actors);
    const auto& expected = all[static_cast<size_t>(k)];
    ASSERT_EQ(actors.size(), expected.size()) << k;
    for (size_t a = 0; a < actors.size(); ++a) ASSERT_TRUE(Same(actors[a], expected[a])) << k;
  }
}

TEST(Scene, TheWorldDoesNotDependOnTheFrameRate) {
  Scene slow(Crowd("&fps=5"));
  Scene fast(Crowd("&fps=25"));
  std::vector<Actor> a;
  std::vector<Actor> b;
  for (int64_t t = 0; t < 60'000'000; t += 200'000) {
    slow.ActorsAt(t, &a);
    fast.ActorsAt(t, &b);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) ASSERT_TRUE(Same(a[i], b[i]));
  }
}

TEST(Scene, IdsBelongToOneAndAreNeverUsedAgain) {
  const SimOptions options = Crowd("&fps=5");
  Scene scene(options);
  std::vector<Actor> actors;
  struct Last {
    int64_t frame;
    double x, z;
    ActorKind kind;
  };
  std::map<uint64_t, Last> seen;
  for (int64_t k = 0; k < 5 * 1200; ++k) {
    scene.ActorsAt(options.FrameTimeUs(k), &actors);
    std::set<uint64_t> now;
    for (const Actor& actor : actors) {
      EXPECT_GT(actor.id, 0u);
      EXPECT_TRUE(now.insert(actor.id).second) << "twice at once";
      const auto before = seen.find(actor.id);
      if (before != seen.end()) {
        ASSERT_EQ(before->second.frame, k - 1) << "id " << actor.id << " came back";
        ASSERT_EQ(before->second.kind, actor.kind);
        const double dx = actor.x - before->second.x;
        const double dz = actor.z - before->second.z;
        // 11 m/s at most, on a frame of 0.2 s.
        ASSERT_LT(std::sqrt(dx * dx + dz * dz), 2.3) << "nobody jumps";
      }
      seen[actor.id] = {k, actor.x, actor.z, actor.kind};
    }
  }
  EXPECT_GT(seen.size(), 600u);
}

TEST(Scene, NobodyIsOnTheZebraCrossingWithACar) {
  const SimOptions options = ParseSimUrl("sim://street?people=24&bicycles=3&cars=10&fps=5").value();
  Scene scene(options);
  std::vector<Actor> actors;
  uint64_t crossing = 0;
  uint64_t driving = 0;
  for (int64_t k = 0; k < 5 * 1800; ++k) {
    scene.ActorsAt(options.FrameTimeUs(k), &actors);
    bool car = false;
    bool person = false;
    for (const Actor& actor : actors) {
      const bool there = actor.x > kZebraLeft - 2 && actor.x < kZebraRight + 2;
      car |= actor.kind == ActorKind::kCar && there;
      person |= actor.kind == ActorKind::kPedestrian && actor.z > kNearKerb + 0.3 &&
                actor.z < kFarKerb - 0.3;
    }
    crossing += person ? 1 : 0;
    driving += car ? 1 : 0;
    ASSERT_FALSE(car && person) << "frame " << k;
  }
  EXPECT_GT(crossing, 100u);
  EXPECT_GT(driving, 100u);
}

TEST(Scene, PeopleAreAboutAsManyAsAskedFor) {
  const SimOptions options = Crowd("&fps=5");
  Scene scene(options);
  std::vector<Actor> actors;
  uint64_t people = 0;
  uint64_t standing = 0;
  constexpr int64_t kFrames = 3000;
  for (int64_t k = 0; k < kFrames; ++k) {
    scene.ActorsAt(options.FrameTimeUs(k), &actors);
    for (const Actor& actor : actors) {
      people += actor.kind == ActorKind::kPedestrian ? 1 : 0;
      standing += actor.kind == ActorKind::kPedestrian && actor.gait == 0 ? 1 : 0;
    }
  }
  EXPECT_GT(people, kFrames * 24 * 0.75);
  EXPECT_LE(people, kFrames * 24u);
  EXPECT_GT(standing, people / 50) << "they stop now and then";
}

TEST(Scene, TheCameraTremblesWithinItsBounds) {
  const Scene scene(Crowd("&shake=4"));
  int least = 0;
  int most = 0;
  for (int64_t t = 0; t < 20'000'000; t += 66'667) {
    const Scene::Shift shift = scene.ShakeAt(t);
    least = std::min({least, shift.x, shift.y});
    most = std::max({most, shift.x, shift.y});
  }
  EXPECT_GE(least, -4);
  EXPECT_LE(most, 4);
  EXPECT_LT(least, -1);
  EXPECT_GT(most, 1);
}

}  // namespace
}  // namespace sightline::sim
