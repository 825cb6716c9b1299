// sightline keys: who may use `sightline serve`, and how much.
#include <algorithm>
#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ascii_text.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/time.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/serve_command.h"
#include "cli/standard_output.h"
#include "serve/access/api_key.h"
#include "serve/access/key_file.h"
#include "serve/access/rate_limit.h"

namespace sightline::cli {
namespace {

using serve::KeyRecord;

constexpr double kMostRate = 1e9;

struct KeysArguments {
  std::string file;
  bool json = false;
  // Of create.
  std::string name, role, rate, expires;
  double burst = 0;
  int concurrency = 0;
  std::vector<std::string> models;
  // Of revoke.
  std::string which;
};

// "90d" and what base/time.h knows, from now on; or a time.
absl::StatusOr<int64_t> ExpiryOf(const std::string& text, int64_t now_utc_us) {
  constexpr int64_t kDayUs = int64_t{24} * 3600 * 1'000'000;
  constexpr int kMostDays = 36'500;
  int days = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, days);
  if (error == std::errc() && stop + 1 == end && *stop == 'd') {
    if (days >= 1 && days <= kMostDays) return now_utc_us + days * kDayUs;
  } else if (const auto duration = ParseDurationUs(text); duration.ok() && *duration > 0) {
    return now_utc_us + *duration;
  } else if (const auto time = ParseUtc(text); time.ok() && *time > now_utc_us) {
    return *time;
  }
  return InvalidArgument(
      "--expires {}: it is a time from now on such as 90d or 12h, or one to come such as "
      "2030-01-31T12:00:00Z",
      ShownText(text, 40));
}

// "valid", "revoked", "expired"
std::string_view StateOf(const KeyRecord& key, int64_t now_utc_us) {
  if (key.revoked_utc_us != 0) return "revoked";
  return key.ValidAt(now_utc_us) ? "valid" : "expired";
}

nlohmann::ordered_json ToJson(const KeyRecord& key, int64_t now_utc_us) {
  nlohmann::ordered_json json = {{"id", key.id},
                                 {"name", key.name},
                                 {"role", serve::ToString(key.role)},
                                 {"state", StateOf(key, now_utc_us)}};
  if (key.created_utc_us > 0) json["created"] = FormatUtc(key.created_utc_us);
  if (key.expires_utc_us > 0) json["expires"] = FormatUtc(key.expires_utc_us);
  if (key.revoked_utc_us > 0) json["revoked"] = FormatUtc(key.revoked_utc_us);
  if (key.limits.rate_per_s > 0) {
    json["rate"] = key.limits.rate_per_s;
    json["burst"] = key.limits.capacity();
  }
  if (key.limits.concurrency > 0) json["concurrency"] = key.limits.concurrency;
  if (!key.models.empty()) json["models"] = key.models;
  return json;
}

absl::Status Create(const KeysArguments& arguments) {
  const int64_t now_utc_us = Clock::Real().NowUtcUs();
  KeyRecord record;
  record.name = arguments.name;
  if (ShownText(record.name, serve::kLongestKeyName) != record.name) {
    return InvalidArgument("--name: printable ASCII, at most {} bytes", serve::kLongestKeyName);
  }
  record.role = *serve::KeyRoleNamed(arguments.role);
  record.created_utc_us = now_utc_us;
  if (!arguments.rate.empty() &&
      !serve::ParseRate(arguments.rate, kMostRate, &record.limits.rate_per_s)) {
    return InvalidArgument("--rate {}: it is a number such as 100/s, 6000/m or 0.5/s",
                           ShownText(arguments.rate, 40));
  }
  if (arguments.burst > 0 && record.limits.rate_per_s <= 0) {
    return InvalidArgument("--burst goes with --rate");
  }
  record.limits.burst = arguments.burst;
  record.limits.concurrency = arguments.concurrency;
  record.models = arguments.models;
  if (!arguments.expires.empty()) {
    SL_ASSIGN_OR_RETURN(record.expires_utc_us, ExpiryOf(arguments.expires, now_utc_us));
  }
  SL_ASSIGN_OR_RETURN(const std::string key, serve::MakeApiKey());
  record.id = serve::KeyIdOf(key);
  record.sha256 = serve::HashOfKey(key);
  SL_RETURN_IF_ERROR(
      serve::EditKeyFile(arguments.file, [&](std::vector<KeyRecord>& keys) -> absl::Status {
        for (const KeyRecord& other : keys) {
          if (other.name == record.name && other.ValidAt(now_utc_us)) {
            return FailedPrecondition("{} is the name of the key {} already", record.name,
                                      other.id);
          }
        }
        if (keys.size() >= serve::kMostKeys) {
          return ResourceExhausted("{} has {} keys, which is the most", arguments.file,
                                   keys.size());
        }
        keys.push_back(record);
        return absl::OkStatus();
      }));
  if (arguments.json) {
    nlohmann::ordered_json json = ToJson(record, now_utc_us);
    json["key"] = key;
    PrintOut("{}\n", JsonText(json));
    return absl::OkStatus();
  }
  PrintOut("{}\n", key);
  TellUser("info", fmt::format("key {} for {}; it is not shown again: {} holds a hash of it",
                               record.id, record.name, arguments.file));
  return absl::OkStatus();
}

// "100/s, 200 at once, 8 at a time"
std::string LimitWords(const KeyRecord& key) {
  std::string words;
  if (key.limits.rate_per_s > 0) {
    words = fmt::format("{:g}/s, {:g} at once", key.limits.rate_per_s, key.limits.capacity());
  }
  if (key.limits.concurrency > 0) {
    words += fmt::format("{}{} at a time", words.empty() ? "" : ", ", key.limits.concurrency);
  }
  return words.empty() ? "none" : words;
}

absl::Status List(const KeysArguments& arguments) {
  SL_ASSIGN_OR_RETURN(const std::vector<KeyRecord> keys, serve::ReadKeyFile(arguments.file));
  const int64_t now_utc_us = Clock::Real().NowUtcUs();
  if (arguments.json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const KeyRecord& key : keys) list.push_back(ToJson(key, now_utc_us));
    PrintOut("{}\n", JsonText(list));
    return absl::OkStatus();
  }
  for (const KeyRecord& key : keys) {
    PrintOut("{}  {}  {}, {}\n", key.id, key.name, serve::ToString(key.role),
             StateOf(key, now_utc_us));
    PrintOut("  limits    {}\n", LimitWords(key));
    if (!key.models.empty()) PrintOut("  models    {}\n", fmt::join(key.models, ", "));
    if (key.expires_utc_us > 0) PrintOut("  expires   {}\n", FormatUtc(key.expires_utc_us));
    if (key.revoked_utc_us > 0) PrintOut("  revoked   {}\n", FormatUtc(key.revoked_utc_us));
  }
  if (keys.empty()) PrintOut("{} has no keys\n", arguments.file);
  return absl::OkStatus();
}

absl::Status Revoke(const KeysArguments& arguments) {
  const int64_t now_utc_us = Clock::Real().NowUtcUs();
  // Somebody may give the key itself: its id is enough, and it goes into no message.
  const std::string_view id = serve::KeyIdOf(arguments.which);
  const std::string which = id.empty() ? arguments.which : std::string(id);
  KeyRecord revoked;
  SL_RETURN_IF_ERROR(
      serve::EditKeyFile(arguments.file, [&](std::vector<KeyRecord>& keys) -> absl::Status {
        // An id means one key; a name that which is still valid.
        auto at = std::ranges::find(keys, which, &KeyRecord::id);
        if (at == keys.end()) {
          at = std::ranges::find_if(keys, [&](const KeyRecord& key) {
            return key.name == which && key.revoked_utc_us == 0;
          });
        }
        if (at == keys.end()) {
          return FailedPrecondition("{} has no key {} that could be revoked", arguments.file,
                                    ShownText(which, serve::kLongestKeyName));
        }
        if (at->revoked_utc_us == 0) at->revoked_utc_us = now_utc_us;
        revoked = *at;
        return absl::OkStatus();
      }));
  if (arguments.json) {
    PrintOut("{}\n", JsonText(ToJson(revoked, now_utc_us)));
  } else {
    PrintOut("{}  {}  revoked\n", revoked.id, revoked.name);
  }
  return absl::OkStatus();
}

CLI::App* AddVerb(CLI::App& keys, const std::string& name, const std::string& about,
                  const std::shared_ptr<KeysArguments>& arguments) {
  CLI::App* const verb = keys.add_subcommand(name, about);
  verb->add_option("--keys", arguments->file, "the file of keys")->required()->check(NotEmpty());
  verb->add_flag("--json", arguments->json, "for programs");
  return verb;
}

}  // namespace

void AddKeysCommand(CLI::App& app, int& exit_code) {
  CLI::App* const keys = app.add_subcommand("keys", "API keys for `sightline serve --keys FILE`");
  keys->require_subcommand(1);
  auto arguments = std::make_shared<KeysArguments>();

  CLI::App* const create = AddVerb(*keys, "create", "Make a key, and print it once", arguments);
  create->add_option("--name", arguments->name, "whose it is")->required()->check(NotEmpty());
  create
      ->add_option("--role", arguments->role,
                   "viewer: health, metadata, metrics; infer: the same and inference; admin: "
                   "everything")
      ->required()
      ->check(CLI::IsMember({"viewer", "infer", "admin"}));
  create->add_option("--rate", arguments->rate, "requests on average: 100/s, 6000/m [no limit]");
  create->add_option("--burst", arguments->burst, "requests at once [those of a second]")
      ->check(Between(1, kMostRate));
  create
      ->add_option("--concurrency", arguments->concurrency,
                   "requests that are worked on at a time [no limit]")
      ->check(WholeBetween(1, 1 << 20));
  create->add_option("--expires", arguments->expires, "90d, 12h, or a time [never]");
  create->add_option("--models", arguments->models, "only these: a,b [all]")->delimiter(',');
  create->callback([arguments, &exit_code] { exit_code = Report(Create(*arguments)); });

  CLI::App* const list = AddVerb(*keys, "list", "The keys of a file", arguments);
  list->callback([arguments, &exit_code] { exit_code = Report(List(*arguments)); });

  CLI::App* const revoke =
      AddVerb(*keys, "revoke", "End a key; a running server knows within a second", arguments);
  revoke->add_option("key", arguments->which, "its id, or its name")->required()->check(NotEmpty());
  revoke->callback([arguments, &exit_code] { exit_code = Report(Revoke(*arguments)); });

  keys->footer(
      "Examples:\n"
      "  KEY=$(sightline keys create --keys keys.json --name shop --role infer --rate 100/s)\n"
      "  sightline serve --keys keys.json --model yolox_nano\n"
      "  curl -H \"Authorization: Bearer $KEY\" localhost:8000/v2/models/yolox_nano\n"
      "docs/serving_access.md says more.");
}

}  // namespace sightline::cli
