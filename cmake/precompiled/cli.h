// What nearly every file of the program includes, read once for all of them (see common.h).
#pragma once

#include "common.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
