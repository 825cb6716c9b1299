// What a configuration amounts to, defaults filled in, for people and programs.
//
// Secrets stay hidden: sources are given as SecretText::shown().
// Threads: reentrant. Cost: milliseconds.
#pragma once

#include <string>

#include "pipeline/config/config.h"

namespace sightline {

// Every key with the value in force, as YAML that ParseConfig reads back to the same Config, except
// for sources with masked passwords. Unset keys are left out.
std::string ConfigYaml(const Config& config);

// The same as one line of JSON.
std::string ConfigJson(const Config& config);

}  // namespace sightline
