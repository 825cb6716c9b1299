// sightline serve: models over the Open Inference Protocol.
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/listen_address.h"
#include "base/log.h"
#include "base/thread.h"
#include "cli/backends.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/model_trial.h"
#include "cli/serve_command.h"
#include "cli/stop_signal.h"
#include "serve/cache/redis_store.h"
#include "serve/cameras/push_camera_routes.h"
#include "serve/cameras/push_cameras.h"
#include "serve/grpc/grpc_server.h"
#include "serve/http/openapi.h"
#include "serve/http/tls_credentials.h"
#include "serve/inference/inference_service.h"
#include "serve/pictures/cached_pictures.h"
#include "serve/pictures/picture_ensemble.h"
#include "serve/pictures/picture_routes.h"
#include "serve/pictures/served_pictures.h"
#include "serve/rest/rest_documents.h"
#include "serve/rest/rest_routes.h"
#include "serve/serving_config.h"
#include "serve/serving_metrics.h"

namespace sightline::cli {
namespace {

// What stands on the command line goes before what stands in the file.
struct ServeArguments {
  std::vector<std::string> models;
  std::string config;
  std::string trace_file;
  std::optional<std::string> http, grpc, metrics, drain, keys, access_log;
  std::optional<std::string> tls_certificate, tls_key, tls_client_ca;
  std::optional<int> instances;
  bool shared_memory = false;
};

std::atomic<bool> stop{false};
std::atomic<bool> reload{false};  // SIGHUP: certificates and the access log, at once

constexpr std::chrono::milliseconds kLook{20};  // for signals
constexpr int kLooksPerTlsLook = 250;           // for new certificates
constexpr size_t kOtherFiles = 1024;            // gRPC's connections, models, logs; chosen
constexpr size_t kMostScrapers = 256;           // connections to --metrics; chosen
constexpr int64_t kScrapeUs = 1'000'000;        // that their answers get at the end; chosen

struct Servers {
  Servers() = default;
  Servers(const Servers&) = delete;
  Servers& operator=(const Servers&) = delete;
  // However it ends: who asks goes before who is asked. Whatever has stopped already returns at once.
  ~Servers() {
    if (grpc != nullptr) grpc->Stop(0);
    if (http != nullptr) http->Stop();
    if (metrics != nullptr) metrics->Stop();
    if (cached != nullptr) cached->Stop();
    if (pictures != nullptr) pictures->Stop();
    if (service != nullptr) service->Stop();
  }

  // In the order in which they use each other.
  std::unique_ptr<serve::InferenceService> service;
  std::unique_ptr<serve::ServedPictures> pictures;
  std::unique_ptr<serve::CachedPictures> cached;
  std::unique_ptr<serve::AccessGate> gate;
  std::unique_ptr<serve::PushCameras> cameras;
  std::unique_ptr<serve::HttpServer> http;
  std::unique_ptr<serve::HttpServer> metrics;
  std::unique_ptr<serve::GrpcServer> grpc;
};

// Null for "off".
absl::StatusOr<std::unique_ptr<serve::HttpServer>> MakeHttp(
    const std::string& option, const std::string& where, size_t connections, size_t of_one_address,
    int64_t drain_us, std::shared_ptr<const serve::TlsCredentials> tls, serve::HttpGate* gate) {
  if (where == "off") return std::unique_ptr<serve::HttpServer>();
  const absl::StatusOr<ListenAddress> address = ParseListenAddress(where);
  if (!address.ok()) return WithContext(address.status(), option);
  serve::HttpServerOptions options;
  options.tcp = *address;
  options.max_connections = connections;
  options.max_connections_per_address = of_one_address;
  options.stop_timeout_us = drain_us;
  options.gate = gate;
  options.tls = std::move(tls);
  auto server = serve::HttpServer::Create(options);
  if (!server.ok()) return WithContext(server.status(), option);
  return server;
}

// Null for "off".
absl::StatusOr<std::unique_ptr<serve::GrpcServer>> MakeGrpc(serve::InferenceService& service,
                                                            const std::string& where,
                                                            const serve::TlsFiles& tls,
                                                            serve::AccessGate* gate) {
  if (where == "off") return std::unique_ptr<serve::GrpcServer>();
  serve::GrpcServerOptions options;
  options.tls = tls;
  options.gate = gate;
  const absl::StatusOr<ListenAddress> address = ParseListenAddress(where);
  if (!address.ok()) return WithContext(address.status(), "--grpc");
  options.address = *address;
  auto server = serve::GrpcServer::Start(service, options);
  if (!server.ok()) return WithContext(server.status(), "--grpc");
  return server;
}

// Every connection is a file, and so is every region of shared memory: as many as may be.
void RaiseFileLimit(bool shared_memory) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t needed = serve::kMostHttpConnections + kMostScrapers + kOtherFiles +
                        (shared_memory ? serve::SharedMemory::kMostRegions : 0);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);  // what is left as it was is told below
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed) return;
  Log().warn(
      "this process may have {} open files (ulimit -Hn), {} are needed for all connections that "
      "are taken: beyond that clients wait",
      limit.rlim_cur, needed);
}

absl::StatusOr<serve::ServingConfig> ConfigOf(const ServeArguments& arguments) {
  serve::ServingConfig config;
  if (!arguments.config.empty()) {
    SL_ASSIGN_OR_RETURN(config, serve::ReadServingConfig(arguments.config));
  }
  config.http = arguments.http.value_or(config.http);
  config.grpc = arguments.grpc.value_or(config.grpc);
  config.metrics = arguments.metrics.value_or(config.metrics);
  config.shared_memory |= arguments.shared_memory;
  config.access.keys = arguments.keys.value_or(config.access.keys);
  config.access.access_log = arguments.access_log.value_or(config.access.access_log);
  config.tls.certificate = arguments.tls_certificate.value_or(config.tls.certificate);
  config.tls.key = arguments.tls_key.value_or(config.tls.key);
  config.tls.client_ca = arguments.tls_client_ca.value_or(config.tls.client_ca);
  if (arguments.drain) {
    const absl::StatusOr<int64_t> drain_us = ParseDurationUs(*arguments.drain);
    SL_RETURN_IF_ERROR(WithContext(drain_us.status(), "--drain"));
    config.drain_us = *drain_us;
  }
  if (!arguments.trace_file.empty()) config.trace_file = arguments.trace_file;
  for (const std::string& model : arguments.models) {
    serve::ServedModelChoice choice;
    choice.reference = model;
    config.models.push_back(std::move(choice));
  }
  for (serve::ServedModelChoice& choice : config.models) {
    if (arguments.instances) choice.settings.instances = *arguments.instances;
  }
  return config;
}

// Where cached answers lie; empty: in memory.
absl::StatusOr<serve::ModelCaches::MakeStore> CacheStoreOf(const serve::ServingConfig& config) {
  if (config.cache.empty()) return serve::ModelCaches::MakeStore();
  serve::RedisOptions options;
  SL_ASSIGN_OR_RETURN(options.url, serve::ParseRedisUrl(config.cache));
  options.tls = config.cache_tls;
  SL_ASSIGN_OR_RETURN(const std::shared_ptr<serve::RedisClient> client,
                      serve::RedisClient::Create(options));
  return [client](const serve::CacheSettings& settings) {
    return std::make_shared<serve::RedisStore>(client, settings.ttl_us);
  };
}

absl::StatusOr<std::unique_ptr<serve::InferenceService>> MakeService(
    const serve::ServingConfig& config) {
  serve::InferenceServiceOptions options;
  options.version = SIGHTLINE_VERSION;
  options.shared_memory = config.shared_memory;
  options.models.trial = TryServing;
  options.models.backend = [](const std::string& wanted, const std::string& file) {
    return BackendFor(wanted, file);
  };
  options.choices = config.models;
  options.trace_file = config.trace_file;
  SL_ASSIGN_OR_RETURN(options.cache_store, CacheStoreOf(config));
  return serve::InferenceService::Create(std::move(options));
}

absl::StatusOr<std::unique_ptr<serve::ServedPictures>> MakePictures(
    serve::InferenceService& service) {
  serve::DetectorSources sources;
  sources.backend = [](const std::string& wanted, const std::string& file) {
    return BackendFor(wanted, file);
  };
  sources.trial = TrialWith;
  SL_ASSIGN_OR_RETURN(
      std::unique_ptr<serve::ServedPictures> pictures,
      serve::ServedPictures::Create(service, serve::OpenerOfFiles(std::move(sources))));
  return pictures;
}

// Who may do what, and what is told of it.
absl::StatusOr<std::unique_ptr<serve::AccessGate>> MakeGate(const serve::ServingConfig& config,
                                                            serve::InferenceService& service) {
  serve::AccessParts parts;
  parts.version = SIGHTLINE_VERSION;
  parts.reserve = [&service](std::string_view model, std::string_view version) {
    return service.Reserve(model, version);
  };
  return serve::AccessGate::Open(config.access, std::move(parts));
}

// Waits until all models are loaded; false when somebody says stop meanwhile.
absl::StatusOr<bool> LoadModels(serve::InferenceService& service) {
  const auto loaded = std::make_shared<std::promise<absl::Status>>();
  std::future<absl::Status> result = loaded->get_future();
  service.Start([loaded](const absl::Status& status) { loaded->set_value(status); });
  while (result.wait_for(kLook) != std::future_status::ready) {
    if (stop.load(std::memory_order_relaxed)) return false;
  }
  const absl::Status status = result.get();
  if (status.ok()) return true;
  // Of files that are not what they should be, not of the command line.
  return FailedPrecondition("{}", MessageOf(status));
}

// Connections that begin from now on have the new certificate.
void RefreshTls(serve::TlsCredentials& tls) {
  const absl::StatusOr<bool> changed = tls.Refresh();
  if (!changed.ok()) {
    Log().warn("the certificate in use stays: {}", MessageOf(changed.status()));
  } else if (*changed) {
    Log().info("the certificate {} was read again", tls.files().certificate);
  }
}

// "serving HTTP at 127.0.0.1:8000, gRPC at 127.0.0.1:8001, metrics at 127.0.0.1:8002; ..."
std::string Described(const Servers& servers) {
  std::vector<std::string> parts;
  if (servers.http) parts.push_back("HTTP at " + ToString(*servers.http->address()));
  if (servers.grpc) parts.push_back("gRPC at " + ToString(servers.grpc->address()));
  if (servers.metrics) parts.push_back("metrics at " + ToString(*servers.metrics->address()));
  return fmt::format("serving {}; models are being loaded", fmt::join(parts, ", "));
}

absl::Status Serve(const ServeArguments& arguments) {
  SL_ASSIGN_OR_RETURN(const serve::ServingConfig config, ConfigOf(arguments));
  RaiseFileLimit(config.shared_memory);
  std::shared_ptr<serve::TlsCredentials> tls;
  if (!config.tls.empty()) {
    SL_ASSIGN_OR_RETURN(tls, serve::TlsCredentials::Load(config.tls));
    serve::GrpcServer::RequireTls13();
  }
  Servers servers;
  SL_ASSIGN_OR_RETURN(servers.service, MakeService(config));
  SL_ASSIGN_OR_RETURN(servers.pictures, MakePictures(*servers.service));
  SL_ASSIGN_OR_RETURN(servers.cached,
                      serve::CachedPictures::Create(*servers.pictures, *servers.service));
  serve::AddPictureEnsembles(*servers.cached, *servers.service);
  SL_ASSIGN_OR_RETURN(servers.gate, MakeGate(config, *servers.service));
  serve::AccessGate* const gate = servers.gate.get();
  SL_ASSIGN_OR_RETURN(servers.http,
                      MakeHttp("--http", config.http, serve::kMostHttpConnections,
                               config.address_connections, config.drain_us, tls, gate));
  SL_ASSIGN_OR_RETURN(servers.metrics, MakeHttp("--metrics", config.metrics, kMostScrapers,
                                                /*of_one_address=*/0, kScrapeUs, nullptr, gate));
  SL_ASSIGN_OR_RETURN(servers.grpc, MakeGrpc(*servers.service, config.grpc, config.tls, gate));
  if (servers.http == nullptr && servers.grpc == nullptr) {
    return InvalidArgument("nothing is left to serve on: --http and --grpc are off");
  }
  servers.cameras =
      std::make_unique<serve::PushCameras>(*servers.cached, serve::PushCameraOptions());
  if (servers.metrics != nullptr) {
    SL_RETURN_IF_ERROR(serve::AddServingMetrics(
        *servers.service, servers.http.get(), *servers.metrics, servers.gate.get(),
        [&cameras = *servers.cameras](MetricWriter& text) { cameras.CollectMetrics(text); }));
    SL_RETURN_IF_ERROR(servers.metrics->Start());
  }
  if (servers.http != nullptr) {
    SL_RETURN_IF_ERROR(serve::AddRestRoutes(*servers.service, {}, *servers.http));
    SL_RETURN_IF_ERROR(serve::AddPictureRoutes(*servers.cached, {}, *servers.http));
    SL_RETURN_IF_ERROR(serve::AddPushCameraRoutes(*servers.cameras, {}, *servers.http));
    // The last one: it tells of all the others.
    SL_RETURN_IF_ERROR(
        serve::AddOpenApiRoute({.title = "Sightline",
                                .version = SIGHTLINE_VERSION,
                                .summary = "Models over the Open Inference Protocol, "
                                           "and pictures in, answers out",
                                .schemas = serve::ServingSchemas()},
                               *servers.http));
    SL_RETURN_IF_ERROR(servers.http->Start());
  }
  TellUser("info", Described(servers));
  SL_ASSIGN_OR_RETURN(const bool loaded, LoadModels(*servers.service));
  if (loaded) TellUser("info", "ready");
  bool was_ready = false;
  for (int looks = 0; !stop.load(std::memory_order_relaxed); ++looks) {
    const bool asked = reload.exchange(false, std::memory_order_relaxed);
    if (asked) servers.gate->ReopenLog();
    if (tls != nullptr && (asked || looks % kLooksPerTlsLook == 0)) RefreshTls(*tls);
    const bool is_ready = servers.service->Ready();
    if (servers.grpc != nullptr && is_ready != was_ready) servers.grpc->SetServing(is_ready);
    was_ready = is_ready;
    std::this_thread::sleep_for(kLook);
  }
  servers.service->BeginDrain();
  TellUser("info", "ending: what was accepted is being answered");
  // Both at once: --drain bounds them together.
  if (servers.grpc != nullptr) {
    servers.grpc->SetServing(false);
    servers.grpc->BeginDrain();
  }
  auto http_end = StartThread("http-end", [&] {
    if (servers.http != nullptr) servers.http->Stop();
  });
  if (servers.grpc != nullptr) servers.grpc->Stop(config.drain_us);
  if (http_end.ok()) http_end->join();
  // The rest ends with the servers, in order; HTTP too where there was no thread for it.
  return absl::OkStatus();
}

}  // namespace

void AddServeCommand(CLI::App& app, int& exit_code) {
  CLI::App* const serve = app.add_subcommand(
      "serve",
      "Serve models over the Open Inference Protocol (KServe v2), as Triton does, and to "
      "who sends pictures");
  auto arguments = std::make_shared<ServeArguments>();
  serve
      ->add_option(
          "--model", arguments->models,
          "a package's name, a model file, a folder of a package or of versions "
          "(1/model.onnx); NEW_NAME=... serves it under another name; several are possible")
      ->check(NotEmpty());
  serve
      ->add_option("--http", arguments->http,
                   "[ADDRESS:]PORT; a port alone is for this machine, :PORT for everyone; 0: any "
                   "that is free; off: none [8000]")
      ->check(NotEmpty());
  serve->add_option("--grpc", arguments->grpc, "the same for gRPC [8001]")->check(NotEmpty());
  serve->add_option("--metrics", arguments->metrics, "the same for GET /metrics [8002]")
      ->check(NotEmpty());
  serve
      ->add_option("--tls-cert", arguments->tls_certificate,
                   "HTTP and gRPC over TLS 1.3 with this certificate (PEM, its chain behind it)")
      ->check(NotEmpty());
  serve->add_option("--tls-key", arguments->tls_key, "its key (PEM, no passphrase)")
      ->check(NotEmpty());
  serve
      ->add_option("--tls-client-ca", arguments->tls_client_ca,
                   "take clients alone whose certificates lead to this one (mTLS)")
      ->check(NotEmpty());
  serve->add_option("--config", arguments->config, "a file with the same and more, for each model")
      ->check(NotEmpty());
  serve
      ->add_option("--instances", arguments->instances,
                   "sessions of each model, each on a thread; 0: one a core, two on a GPU [0]")
      ->check(WholeBetween(0, 256));
  serve->add_flag(
      "--shared-memory", arguments->shared_memory,
      "clients may register objects of /dev/shm: whoever reaches the ports can then read "
      "and write those of this user");
  serve
      ->add_option("--trace-file", arguments->trace_file,
                   "where traces of requests are written when a client switches them on")
      ->check(NotEmpty());
  serve
      ->add_option("--drain", arguments->drain,
                   "how long answers on their way have at the end (SIGTERM, Ctrl-C) [30s]")
      ->check(NotEmpty());
  serve
      ->add_option("--keys", arguments->keys,
                   "a file of `sightline keys`: nobody may do anything without a key of it")
      ->check(NotEmpty());
  serve
      ->add_option("--access-log", arguments->access_log,
                   "a line of JSON for each request, to this file (opened anew at SIGHUP) or to "
                   "stdout")
      ->check(NotEmpty());
  serve->footer(
      "Examples:\n"
      "  sightline serve --model yolox_nano --model faces=ultraface.onnx\n"
      "  curl localhost:8000/v2/models/yolox_nano\n"
      "  curl --data-binary @photo.jpg localhost:8000/v1/detect/yolox_nano\n"
      "Without --model nothing is loaded until a client asks for a package of the model store.\n"
      "docs/serving.md, docs/serving_pictures.md and docs/serving_access.md say what is answered, "
      "how "
      "and to whom.");
  serve->callback([arguments, &exit_code] {
    const StopSignal signal({.stop = [] { stop = true; }, .reload = [] { reload = true; }});
    exit_code = Report(Serve(*arguments));
  });
}

}  // namespace sightline::cli
