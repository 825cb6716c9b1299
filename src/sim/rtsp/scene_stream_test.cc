#include "sim/rtsp/scene_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline::sim {
namespace {

TEST(Spoil, LeavesParameterSets) { SUCCEED(); }

}  // namespace
}  // namespace sightline::sim
