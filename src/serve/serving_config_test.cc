#include "serve/serving_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;

TEST(ServingConfig, EveryKeyIsRead) {
  const auto config = ParseServingConfig(R"(
http: 0.0.0.0:80
grpc: off
metrics: 9000
shared_memory: true
drain: 5s
keys: keys.json
open_health: true
open_metrics: true
model_control: false
address_rate: 20/s
address_burst: 40
address_concurrency: 4
address_connections: 100
access_log: /var/log/access.log
otlp: http://collector:4318/v1/traces
trace_sampling: 0.25
tls: {certificate: tls/server.pem, key: /run/key.pem, client_ca: ca.pem}
models:
  - model: yolox_nano
  - model: models/faces.onnx
    name: faces
    versions: all
    backend: onnxruntime
    providers: [cuda:1, cpu]
    instances: 2
    threads: 3
    max_batch: 8
    preferred_batches: [4, 8]
    max_delay: 2ms
    queue: 100
    priority: 3
    timeout: 1s
    max_wait: 50ms
    pictures: at_load
    shrink: false
)",
                                         "/etc/sightline/serve.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->http, "0.0.0.0:80");
  EXPECT_EQ(config->grpc, "off");
  EXPECT_EQ(config->metrics, "9000");
  EXPECT_TRUE(config->shared_memory);
  EXPECT_EQ(config->drain_us, 5'000'000);
  EXPECT_EQ(config->tls.certificate, "/etc/sightline/tls/server.pem");
  EXPECT_EQ(config->tls.key, "/run/key.pem");
  EXPECT_EQ(config->tls.client_ca, "/etc/sightline/ca.pem");
  ASSERT_EQ(config->models.size(), 2u);
  EXPECT_EQ(config->models[0].reference, "yolox_nano");
  EXPECT_EQ(config->models[0].settings.max_batch, -1);
  EXPECT_EQ(config->models[0].settings.max_wait_us, ModelSettings::kWaitByLoad);
  const ServedModelChoice& faces = config->models[1];
  EXPECT_EQ(faces.reference, "faces=/etc/sightline/models/faces.onnx");
  EXPECT_TRUE(faces.all_versions);
  EXPECT_EQ(faces.backend, "onnxruntime");
  EXPECT_EQ(faces.settings.providers, (std::vector<std::string>{"cuda:1", "cpu"}));
  EXPECT_EQ(faces.settings.instances, 2);
  EXPECT_EQ(faces.settings.threads, 3);
  EXPECT_EQ(faces.settings.max_batch, 8);
  EXPECT_EQ(faces.settings.preferred_batches, (std::vector<int>{4, 8}));
  EXPECT_EQ(faces.settings.max_delay_us, 2000);
  EXPECT_EQ(faces.settings.queue, 100u);
  EXPECT_EQ(faces.settings.priority, 3);
  EXPECT_EQ(faces.settings.timeout_us, 1'000'000);
  EXPECT_EQ(faces.settings.max_wait_us, 50'000);
  EXPECT_EQ(config->access.keys, "/etc/sightline/keys.json");
  EXPECT_TRUE(config->access.open_health);
  EXPECT_TRUE(config->access.open_metrics);
  EXPECT_FALSE(config->access.model_control);
  EXPECT_EQ(config->access.address_limits.rate_per_s, 20);
  EXPECT_EQ(config->access.address_limits.burst, 40);
  EXPECT_EQ(config->access.address_limits.concurrency, 4);
  EXPECT_EQ(config->address_connections, 100u);
  EXPECT_EQ(config->access.access_log, "/var/log/access.log");
  EXPECT_EQ(config->access.otlp, "http://collector:4318/v1/traces");
  EXPECT_EQ(config->access.trace_sampling, 0.25);
  EXPECT_EQ(faces.settings.pictures.use, PictureUse::kAtLoad);
  EXPECT_FALSE(faces.settings.pictures.shrink);
}

TEST(ServingConfig, CachesAreOffUnlessAModelSaysSo) {
  const auto config = ParseServingConfig(R"(
cache: redis://cache:6379/2
cache_tls: {ca: ca.pem}
models:
  - model: a
  - model: b
    cache: exact
  - model: c
    cache: {kind: perceptual, hash: pdq, radius: 30, ttl: 5m, size: 2GiB, entries: 7}
  - model: d
    cache: {kind: embedding, radius: 0.05, embedder: b}
)",
                                         "serve.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->cache, "redis://cache:6379/2");
  EXPECT_TRUE(config->cache_tls.ca.ends_with("ca.pem"));
  EXPECT_EQ(config->models[0].settings.cache, CacheSettings());
  const CacheSettings& exact = config->models[1].settings.cache;
  EXPECT_EQ(exact.kind, CacheKind::kExact);
  EXPECT_EQ(exact.ttl_us, int64_t{3600} * 1'000'000);
  const CacheSettings& perceptual = config->models[2].settings.cache;
  EXPECT_EQ(perceptual.kind, CacheKind::kPerceptual);
  EXPECT_EQ(perceptual.hash, HashKind::kPdq);
  EXPECT_EQ(perceptual.radius, 30);
  EXPECT_EQ(perceptual.ttl_us, 300'000'000);
  EXPECT_EQ(perceptual.max_bytes, size_t{2} << 30);
  EXPECT_EQ(perceptual.max_entries, 7u);
  const CacheSettings& embedding = config->models[3].settings.cache;
  EXPECT_EQ(embedding.kind, CacheKind::kEmbedding);
  EXPECT_EQ(embedding.radius, 0.05);
  EXPECT_EQ(embedding.embedder, "b");
  for (const std::string wrong :
       {"fuzzy", "perceptual", "{kind: perceptual}", "{kind: embedding, radius: 0.1}",
        "{radius: -1, kind: perceptual}", "{size: 64}", "{size: 2TiB}", "{hash: whash}",
        "{hush: 1}"}) {
    const auto refused =
        ParseServingConfig("models: [{model: a, cache: " + wrong + "}]", "serve.yaml");
    EXPECT_TRUE(absl::IsInvalidArgument(refused.status())) << wrong;
  }
}

TEST(ServingConfig, MistakesAreToldWithTheirPlace) {
  const auto told = [](std::string_view text) {
    return std::string(MessageOf(ParseServingConfig(text, "s.yaml").status()));
  };
  EXPECT_THAT(told("htpp: 8000\n"), HasSubstr("s.yaml:1:1: unknown key \"htpp\""));
  EXPECT_THAT(told("htpp: 8000\n"), HasSubstr("did you mean \"http\"?"));
  EXPECT_THAT(told("models:\n  - name: a\n"), HasSubstr("s.yaml:2:5"));
  EXPECT_THAT(told("models:\n  - model: a\n    name: a/b\n"), HasSubstr("s.yaml:3:11"));
  EXPECT_THAT(told("models: 3\n"), HasSubstr("\"models\" is a list"));
  EXPECT_THAT(told("models:\n  - model: a\n    instances: many\n"), HasSubstr("s.yaml:3:16"));
  EXPECT_THAT(told("models:\n  - model: a\n    queue: 0\n"), HasSubstr("from 1"));
  EXPECT_THAT(told("tls: {certificate: a}\n"), HasSubstr("the keys \"certificate\" and \"key\""));
  EXPECT_THAT(told("shared_memory: yes\n"), HasSubstr("true or false"));
  EXPECT_THAT(told("drain: soon\n"), HasSubstr("30s"));
  EXPECT_THAT(told("address_rate: 0\n"), HasSubstr("100/s"));
  EXPECT_THAT(told("cache_tls: {certificate: a}\n"), HasSubstr("or neither"));
  EXPECT_THAT(told("address_connections: 16385\n"), HasSubstr("from 0 to 16384"));
  EXPECT_THAT(told("trace_sampling: 2\n"), HasSubstr("from 0 to 1"));
  EXPECT_THAT(told("[]\n"), HasSubstr("a map"));
  EXPECT_THAT(told("http: 1\nhttp: 2\n"), HasSubstr("s.yaml:2"));
}

TEST(ServingConfig, NothingIsTheDefaults) {
  const auto config = ParseServingConfig("", "s.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->http, "8000");
  EXPECT_EQ(config->address_connections, 12288u);
  EXPECT_FALSE(config->shared_memory);
  EXPECT_EQ(config->access.keys, "");
  EXPECT_TRUE(config->access.model_control);
  EXPECT_TRUE(config->models.empty());
}

}  // namespace
}  // namespace sightline::serve
