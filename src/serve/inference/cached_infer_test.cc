// Inference through the result cache.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

TEST(Placeholder, None) {}
