#include "serve/serving_config.h"

#include <charconv>
#include <filesystem>
#include <functional>
#include <span>
#include <utility>

#include "base/nearest_word.h"
#include "base/time.h"
#include "base/whole_file.h"
#include "infer/model_store.h"
#include "pipeline/config/document.h"

namespace sightline::serve {
namespace {

using config::YamlNode;

constexpr uint64_t kMostCacheBytes = uint64_t{1} << 40;

// What a key takes: an error as the rest of a sentence, or "".
using TakeValue = std::function<std::string(const YamlNode&)>;
struct Key {
  std::string_view name;
  TakeValue take;
};

class Reader {
 public:
  explicit Reader(std::vector<ConfigError>& errors) : errors_(errors) {}

  void ReadMap(const YamlNode& node, std::span<const Key> keys, std::string_view what) {
    if (node.kind != YamlNode::Kind::kMap) return Fail(node.at, fmt::format("{} is a map", what));
    std::vector<std::string_view> names;
    for (const Key& key : keys) names.push_back(key.name);
    for (const YamlNode::Entry& entry : node.entries) {
      const Key* found = nullptr;
      for (const Key& key : keys) {
        if (key.name == entry.key) found = &key;
      }
      if (found == nullptr) {
        const std::string near = NearestWord(entry.key, names);
        Fail(entry.key_at,
             fmt::format("unknown key {} in {}{}", config::Quote(entry.key), what,
                         near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
        continue;
      }
      const std::string wrong = found->take(*entry.value);
      if (!wrong.empty()) Fail(entry.value->at, fmt::format("\"{}\" {}", entry.key, wrong));
    }
  }
  void Fail(ConfigLocation at, std::string message) {
    if (errors_.size() < kMaxConfigErrors) errors_.push_back({at, std::move(message)});
  }

 private:
  std::vector<ConfigError>& errors_;
};

TakeValue Text(std::string* to) {
  return [to](const YamlNode& node) -> std::string {
    if (node.kind != YamlNode::Kind::kScalar || node.text.empty()) return "is a text";
    *to = node.text;
    return "";
  };
}

TakeValue Name(std::string* to) {
  return [to](const YamlNode& node) -> std::string {
    if (node.kind != YamlNode::Kind::kScalar) return "is a text";
    const absl::Status good = CheckModelName(node.text);
    if (!good.ok()) return fmt::format("cannot be so: {}", MessageOf(good));
    *to = node.text;
    return "";
  };
}

std::optional<int64_t> WholeOf(const YamlNode& node) {
  int64_t value = 0;
  const char* const end = node.text.data() + node.text.size();
  const auto [stop, error] = std::from_chars(node.text.data(), end, value);
  if (node.kind != YamlNode::Kind::kScalar || error != std::errc() || stop != end) {
    return std::nullopt;
  }
  return value;
}

template <typename Number>
TakeValue Whole(int64_t least, int64_t most, Number* to) {
  return [=](const YamlNode& node) -> std::string {
    const std::optional<int64_t> value = WholeOf(node);
    if (!value || *value < least || *value > most) {
      return fmt::format("is a whole number from {} to {}", least, most);
    }
    *to = static_cast<Number>(*value);
    return "";
  };
}

TakeValue Duration(int64_t* to_us) {
  return [=](const YamlNode& node) -> std::string {
    const auto value = node.kind == YamlNode::Kind::kScalar
                           ? ParseDurationUs(node.text)
                           : absl::StatusOr<int64_t>(InvalidArgument("none"));
    if (!value.ok() || *value > kLongestDurationUs) return "is a time such as 5ms or 30s";
    *to_us = *value;
    return "";
  };
}

TakeValue MaxWait(int64_t* to_us) {
  return [=](const YamlNode& node) -> std::string {
    if (node.kind == YamlNode::Kind::kScalar && node.text == "auto") {
      *to_us = ModelSettings::kWaitByLoad;
      return "";
    }
    if (node.kind == YamlNode::Kind::kScalar && node.text == "off") {
      *to_us = 0;
      return "";
    }
    int64_t wait_us = 0;
    if (!Duration(&wait_us)(node).empty() || wait_us == 0) {
      return "is auto, off, or a time such as 5ms or 30s";
    }
    *to_us = wait_us;
    return "";
  };
}

TakeValue Flag(bool* to) {
  return [=](const YamlNode& node) -> std::string {
    if (node.kind != YamlNode::Kind::kScalar || !node.plain ||
        (node.text != "true" && node.text != "false")) {
      return "is true or false";
    }
    *to = node.text == "true";
    return "";
  };
}

TakeValue Versions(bool* all) {
  return [=](const YamlNode& node) -> std::string {
    if (node.text != "latest" && node.text != "all") return "is latest or all";
    *all = node.text == "all";
    return "";
  };
}

TakeValue Wholes(std::vector<int>* to) {
  return [=](const YamlNode& node) -> std::string {
    for (const YamlNode* item : node.items) {
      const std::optional<int64_t> value = WholeOf(*item);
      if (!value || *value < 1 || *value > 1 << 16) return "is a list of whole numbers from 1 on";
      to->push_back(static_cast<int>(*value));
    }
    return node.kind == YamlNode::Kind::kSequence ? "" : "is a list of whole numbers from 1 on";
  };
}

TakeValue Texts(std::vector<std::string>* to) {
  return [=](const YamlNode& node) -> std::string {
    for (const YamlNode* item : node.items) {
      if (item->kind != YamlNode::Kind::kScalar) return "is a list of texts";
      to->push_back(item->text);
    }
    return node.kind == YamlNode::Kind::kSequence ? "" : "is a list of texts";
  };
}

TakeValue Use(PictureUse* to) {
  return [to](const YamlNode& node) -> std::string {
    const bool is_text = node.kind == YamlNode::Kind::kScalar;
    if (is_text && node.text == "on_demand") {
      *to = PictureUse::kOnDemand;
    } else if (is_text && node.text == "at_load") {
      *to = PictureUse::kAtLoad;
    } else if (is_text && node.text == "off") {
      *to = PictureUse::kOff;
    } else {
      return "is on_demand, at_load or off";
    }
    return "";
  };
}

// A number, or one a second: "100", "0.5/s".
TakeValue Rate(double most, double* to) {
  return [=](const YamlNode& node) -> std::string {
    if (node.kind != YamlNode::Kind::kScalar || !ParseRate(node.text, most, to)) {
      return fmt::format("is a number above 0 and up to {}, such as 100/s", most);
    }
    return "";
  };
}

TakeValue Share(double* to) {
  return [=](const YamlNode& node) -> std::string {
    double value = 0;
    const char* const end = node.text.data() + node.text.size();
    const auto [stop, error] = std::from_chars(node.text.data(), end, value);
    if (node.kind != YamlNode::Kind::kScalar || error != std::errc() || stop != end ||
        !(value >= 0 && value <= 1)) {
      return "is a number from 0 to 1";
    }
    *to = value;
    return "";
  };
}

// Relative to the file's folder.
TakeValue FileAt(const std::filesystem::path& folder, std::string* to) {
  return [=](const YamlNode& node) -> std::string {
    if (node.kind != YamlNode::Kind::kScalar || node.text.empty()) return "is a file";
    const bool is_stream = node.text == "stdout";
    *to = is_stream ? node.text : (folder / node.text).lexically_normal().string();
    return "";
  };
}

// A path in the file starts at the file's folder; a name of a package is left as it is.
std::string Placed(const std::string& reference, const std::filesystem::path& folder) {
  const bool is_path = reference.find('/') != std::string::npos || reference.ends_with(".onnx") ||
                       reference.ends_with(".tflite");
  return is_path ? (folder / reference).lexically_normal().string() : reference;
}

TakeValue Real(double least, double most, double* to) {
  return [=](const YamlNode& node) -> std::string {
    double value = 0;
    const char* const end = node.text.data() + node.text.size();
    const auto [stop, error] = std::from_chars(node.text.data(), end, value);
    if (node.kind != YamlNode::Kind::kScalar || error != std::errc() || stop != end ||
        !(value >= least && value <= most)) {
      return fmt::format("is a number from {} to {}", least, most);
    }
    *to = value;
    return "";
  };
}

TakeValue Size(size_t* to) {
  return [to](const YamlNode& node) -> std::string {
    uint64_t value = 0;
    const char* const end = node.text.data() + node.text.size();
    const auto [stop, error] = std::from_chars(node.text.data(), end, value);
    const std::string_view unit(stop, static_cast<size_t>(end - stop));
    const int shift = unit == "KiB" ? 10 : unit == "MiB" ? 20 : unit == "GiB" ? 30 : -1;
    if (node.kind != YamlNode::Kind::kScalar || error != std::errc() || shift < 0 || value < 1 ||
        value > kMostCacheBytes >> shift) {
      return "is a size such as 512KiB, 64MiB or 2GiB, at most 1024GiB";
    }
    *to = static_cast<size_t>(value << shift);
    return "";
  };
}

TakeValue KindOfCache(CacheKind* to) {
  return [to](const YamlNode& node) -> std::string {
    for (const CacheKind kind :
         {CacheKind::kOff, CacheKind::kExact, CacheKind::kPerceptual, CacheKind::kEmbedding}) {
      if (node.kind != YamlNode::Kind::kScalar || node.text != ToString(kind)) continue;
      *to = kind;
      return "";
    }
    return "is off, exact, perceptual or embedding";
  };
}

TakeValue Hash(HashKind* to) {
  return [to](const YamlNode& node) -> std::string {
    const absl::StatusOr<HashKind> kind = HashKindNamed(node.text);
    if (!kind.ok()) return "is ahash, dhash, phash or pdq";
    *to = *kind;
    return "";
  };
}

// `cache: exact`, or a map. The radius has no default: how many answers become wrong with it is a matter
// of the model and its pictures.
TakeValue Cache(Reader& reader, CacheSettings* to) {
  return [&reader, to](const YamlNode& node) -> std::string {
    CacheSettings cache;
    if (node.kind == YamlNode::Kind::kScalar) {
      const std::string wrong = KindOfCache(&cache.kind)(node);
      if (!wrong.empty()) return wrong;
    } else {
      cache.kind = CacheKind::kExact;
      cache.radius = -1;
      const Key keys[] = {
          {"kind", KindOfCache(&cache.kind)},
          {"hash", Hash(&cache.hash)},
          {"radius", Real(0, 256, &cache.radius)},
          {"embedder", Text(&cache.embedder)},
          {"ttl", Duration(&cache.ttl_us)},
          {"size", Size(&cache.max_bytes)},
          {"entries", Whole(1, 10'000'000, &cache.max_entries)},
      };
      reader.ReadMap(node, keys, "a cache");
    }
    const bool compares =
        cache.kind == CacheKind::kPerceptual || cache.kind == CacheKind::kEmbedding;
    if (compares && !(cache.radius >= 0 && node.kind != YamlNode::Kind::kScalar)) {
      return fmt::format(
          "of kind {} wants a \"radius\": {}; sightline cache audit measures which answers become "
          "wrong with it",
          ToString(cache.kind),
          cache.kind == CacheKind::kPerceptual ? "bits that may differ" : "1 - cosine");
    }
    if (cache.kind == CacheKind::kEmbedding && (cache.embedder.empty() || cache.radius > 2)) {
      return "of kind embedding wants an \"embedder\", a served model that gives embeddings, and a "
             "radius (1 - cosine) of at most 2";
    }
    if (!compares) cache.radius = 0;
    *to = cache;
    return "";
  };
}

void ReadModel(const YamlNode& node, const std::filesystem::path& folder, Reader& reader,
               ServingConfig& config) {
  ServedModelChoice choice;
  std::string name, model;
  ModelSettings& settings = choice.settings;
  const Key keys[] = {
      {"model", Text(&model)},
      {"name", Name(&name)},
      {"versions", Versions(&choice.all_versions)},
      {"backend", Text(&choice.backend)},
      {"providers", Texts(&settings.providers)},
      {"instances", Whole(0, 256, &settings.instances)},
      {"threads", Whole(1, 1024, &settings.threads)},
      {"max_batch", Whole(0, 1 << 16, &settings.max_batch)},
      {"preferred_batches", Wholes(&settings.preferred_batches)},
      {"max_delay", Duration(&settings.max_delay_us)},
      {"queue", Whole(1, 1 << 20, &settings.queue)},
      {"priority", Whole(1, kPriorityLevels, &settings.priority)},
      {"timeout", Duration(&settings.timeout_us)},
      {"pictures", Use(&settings.pictures.use)},
      {"shrink", Flag(&settings.pictures.shrink)},
      {"max_wait", MaxWait(&settings.max_wait_us)},
      {"cache", Cache(reader, &settings.cache)},
  };
  reader.ReadMap(node, keys, "a model");
  if (model.empty()) return reader.Fail(node.at, "a model has the key \"model\"");
  model = Placed(model, folder);
  choice.reference = name.empty() ? model : name + "=" + model;
  config.models.push_back(std::move(choice));
}

}  // namespace

absl::StatusOr<ServingConfig> ParseServingConfig(std::string_view text, const std::string& file) {
  std::vector<ConfigError> errors;
  ServingConfig config;
  const auto document = config::ParseYaml(text, errors);
  if (document != nullptr && document->root != nullptr) {
    Reader reader(errors);
    const std::filesystem::path folder = std::filesystem::path(file).parent_path();
    const TakeValue models = [&](const YamlNode& node) -> std::string {
      if (node.kind != YamlNode::Kind::kSequence) return "is a list";
      for (const YamlNode* item : node.items) ReadModel(*item, folder, reader, config);
      return "";
    };
    const TakeValue tls = [&](const YamlNode& node) -> std::string {
      const Key files[] = {{"certificate", FileAt(folder, &config.tls.certificate)},
                           {"key", FileAt(folder, &config.tls.key)},
                           {"client_ca", FileAt(folder, &config.tls.client_ca)}};
      reader.ReadMap(node, files, "tls");
      return config.tls.certificate.empty() || config.tls.key.empty()
                 ? "has the keys \"certificate\" and \"key\""
                 : "";
    };
    const TakeValue cache_tls = [&](const YamlNode& node) -> std::string {
      RedisTlsFiles& tls = config.cache_tls;
      const Key files[] = {{"ca", FileAt(folder, &tls.ca)},
                           {"certificate", FileAt(folder, &tls.certificate)},
                           {"key", FileAt(folder, &tls.key)}};
      reader.ReadMap(node, files, "cache_tls");
      return tls.certificate.empty() == tls.key.empty()
                 ? ""
                 : "has \"certificate\" and \"key\", or neither";
    };
    const Key keys[] = {
        {"tls", tls},
        {"http", Text(&config.http)},
        {"grpc", Text(&config.grpc)},
        {"metrics", Text(&config.metrics)},
        {"shared_memory", Flag(&config.shared_memory)},
        {"trace_file", FileAt(folder, &config.trace_file)},
        {"drain", Duration(&config.drain_us)},
        {"models", models},
        {"cache", Text(&config.cache)},
        {"cache_tls", cache_tls},
        {"keys", FileAt(folder, &config.access.keys)},
        {"open_health", Flag(&config.access.open_health)},
        {"open_metrics", Flag(&config.access.open_metrics)},
        {"model_control", Flag(&config.access.model_control)},
        {"address_rate", Rate(1e9, &config.access.address_limits.rate_per_s)},
        {"address_burst", Rate(1e9, &config.access.address_limits.burst)},
        {"address_concurrency", Whole(1, 1 << 20, &config.access.address_limits.concurrency)},
        {"address_connections", Whole(0, kMostHttpConnections, &config.address_connections)},
        {"access_log", FileAt(folder, &config.access.access_log)},
        {"otlp", Text(&config.access.otlp)},
        {"trace_sampling", Share(&config.access.trace_sampling)}};
    reader.ReadMap(*document->root, keys, "the file");
  }
  if (errors.empty()) return config;
  std::string told;
  for (const ConfigError& error : errors) {
    told += fmt::format("{}{}:{}:{}: {}", told.empty() ? "" : "\n", file, error.at.line,
                        error.at.column, error.message);
  }
  return InvalidArgument("{}", told);
}

absl::StatusOr<ServingConfig> ReadServingConfig(const std::string& path) {
  SL_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path, kMaxConfigBytes));
  return ParseServingConfig(text, path);
}

}  // namespace sightline::serve
