// What nearly every test includes, read once for all of them (see common.h).
#pragma once

#include "common.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
