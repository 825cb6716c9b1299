#include "cli/usage_error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>
#include <vector>

#include "base/nearest_word.h"
#include "base/redact.h"

namespace sightline::cli {
namespace {

std::string DidYouMean(const std::string& typed, const std::vector<std::string>& words) {
  const std::vector<std::string_view> known(words.begin(), words.end());
  const std::string nearest = NearestWord(typed, known);
  return nearest.empty() ? "" : fmt::format(", did you mean \"{}\"?", nearest);
}

// `command` wants one of its own commands and got none, or a word that is none.
std::string WrongCommand(const CLI::App& command) {
  std::vector<std::string> words;
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
    words.push_back(sub->get_name());
  }
  for (const std::string& typed : command.remaining()) {
    if (typed.starts_with('-')) continue;
    return fmt::format("there is no command \"{}\"{}; the commands are {}", typed,
                       DidYouMean(typed, words), fmt::join(words, ", "));
  }
  return fmt::format("a command is needed: {}", fmt::join(words, ", "));
}

std::string Unexpected(const CLI::App& command) {
  std::vector<std::string> words;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  }
  std::string text;
  for (const std::string& typed : command.remaining()) {
    const std::string word = typed.substr(0, typed.starts_with('-') ? typed.find('=') : typed.npos);
    text += fmt::format("{}\"{}\" was not expected{}", text.empty() ? "" : "; ", word,
                        word.starts_with('-') ? DidYouMean(word, words) : "");
  }
  return text;
}

}  // namespace

std::string UsageError(const CLI::App* program, const CLI::Error& error) {
  const CLI::App* command = program;
  std::string words = program->get_name();
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    words += " " + command->get_name();
  }
  std::string what = error.what();
  if (command->get_require_subcommand_min() > 0) {
    what = WrongCommand(*command);
  } else if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError) &&
             !command->remaining().empty()) {
    what = Unexpected(*command);
  }
  for (char& c : what) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return fmt::format("sightline: {} (see {} --help)\n", WithoutSecrets(what), words);
}

}  // namespace sightline::cli
