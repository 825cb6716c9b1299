// `sightline schema`: the configuration's keys for editors and for docs/configuration.md.
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/standard_output.h"
#include "pipeline/config/schema.h"

namespace sightline::cli {

void AddSchemaCommand(CLI::App& app, int& exit_code) {
  CLI::App* schema =
      app.add_subcommand("schema", "Print the JSON Schema of the configuration file, for editors");
  auto markdown = std::make_shared<bool>(false);
  schema->add_flag("--markdown", *markdown,
                   "print the keys as the tables of docs/configuration.md");
  schema->footer(
      "Example:\n"
      "  sightline schema > sightline.schema.json\n"
      "and as the first line of a configuration, for editors with the YAML language server:\n"
      "  # yaml-language-server: $schema=sightline.schema.json");
  schema->callback([markdown] { Write(*markdown ? ConfigMarkdown() : ConfigJsonSchema()); });
}

}  // namespace sightline::cli
