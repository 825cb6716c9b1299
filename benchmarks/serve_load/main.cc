// serve_load: a load for an inference server, and what it answers.
//
//   serve_load --http HOST:PORT --path /v1/detect/faces --body a.jpg --body b.jpg --connections 32 --seconds 10
//   serve_load --http HOST:PORT --model add_sub --tensor INPUT0=1x16 --tensor INPUT1=1x16 --rate 500 --seconds 10
//   serve_load --grpc HOST:PORT --model add_sub --tensor ... --phase normal:200:5 --phase flood:2000:10
//
// Prints a line of JSON when a phase begins and when the last one is over, and then what came of all.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "serve_load/infer_bodies.h"
#include "serve_load/load_run.h"

namespace sightline::load {
namespace {

struct Arguments {
  LoadOptions load;
  std::string http, grpc, model;
  std::vector<std::string> files, tensors, phases;
  double rate = 0, seconds = 10, warmup = 1;
  int variants = 8;
  bool even = false, json = false;
};

// "NAME:RATE:SECONDS"
bool ParsePhase(const std::string& text, Phase& phase) {
  const size_t second = text.rfind(':');
  const size_t first =
      second == std::string::npos || second == 0 ? second : text.rfind(':', second - 1);
  if (first == std::string::npos || first == 0) return false;
  phase.name = text.substr(0, first);
  return CLI::detail::lexical_cast(text.substr(first + 1, second - first - 1), phase.rate) &&
         CLI::detail::lexical_cast(text.substr(second + 1), phase.seconds) && phase.rate >= 0 &&
         phase.rate <= 1e6 && phase.seconds > 0 && phase.seconds <= 3600;
}

std::string ReadBodies(Arguments& arguments) {
  LoadOptions& load = arguments.load;
  for (const std::string& name : arguments.files) {
    std::ifstream file(name, std::ios::binary);
    if (!file) return name + ": cannot be read";
    load.bodies.emplace_back(std::istreambuf_iterator<char>(file),
                             std::istreambuf_iterator<char>());
  }
  std::vector<RandomTensor> tensors;
  for (const std::string& text : arguments.tensors) {
    RandomTensor tensor;
    if (!ParseTensor(text, tensor)) return "--tensor " + text + " is not NAME=1x2x3";
    tensors.push_back(tensor);
  }
  if (tensors.empty()) return load.bodies.empty() ? "give --body FILE or --tensor NAME=SHAPE" : "";
  if (arguments.model.empty()) return "--tensor needs --model";
  size_t json_bytes = 0;
  for (int seed = 1; seed <= arguments.variants; ++seed) {
    load.bodies.push_back(load.grpc        ? GrpcBody(arguments.model, tensors, seed)
                          : arguments.json ? JsonBody(tensors, seed)
                                           : HttpBody(tensors, seed, json_bytes));
  }
  if (load.grpc) return "";
  if (load.path.empty()) load.path = "/v2/models/" + arguments.model + "/infer";
  load.headers.push_back(arguments.json ? "Content-Type: application/json"
                                        : "Content-Type: application/octet-stream");
  if (!arguments.json) {
    load.headers.push_back("Inference-Header-Content-Length: " + std::to_string(json_bytes));
  }
  return "";
}

std::string ReadPhases(Arguments& arguments) {
  for (const std::string& text : arguments.phases) {
    Phase phase;
    if (!ParsePhase(text, phase)) return "--phase " + text + " is not NAME:RATE:SECONDS";
    arguments.load.phases.push_back(phase);
  }
  if (!arguments.load.phases.empty()) return "";
  if (arguments.warmup > 0) {
    arguments.load.phases.push_back({"warm-up", arguments.rate, arguments.warmup});
  }
  arguments.load.phases.push_back({"load", arguments.rate, arguments.seconds});
  return "";
}

int Main(int argc, char** argv) {
  Arguments arguments;
  LoadOptions& load = arguments.load;
  CLI::App app("A load for an inference server.");
  app.add_option("--http", arguments.http, "HOST:PORT");
  app.add_option("--grpc", arguments.grpc, "HOST:PORT");
  app.add_option("--path", load.path, "what is posted to; with --tensor the model's infer");
  app.add_option("--body", arguments.files, "files that are posted in rotation");
  app.add_option("--header", load.headers, "\"Name: value\"");
  app.add_option("--key", load.key, "an API key, sent as a bearer token");
  app.add_option("--model", arguments.model);
  app.add_option("--tensor", arguments.tensors,
                 "NAME=1x3x240x320: an input of FP32 with random values");
  app.add_option("--variants", arguments.variants, "how many random requests there are")
      ->check(CLI::Range(1, 1000));
  app.add_flag("--json", arguments.json, "tensors as JSON, not as binary data");
  app.add_option("--connections", load.connections,
                 "of a closed loop, and the most of an open one; "
                 "with gRPC calls under way")
      ->check(CLI::Range(1, 100000));
  app.add_option("--channels", load.channels, "TCP connections of gRPC")
      ->check(CLI::Range(1, 1000));
  app.add_option("--rate", arguments.rate,
                 "requests a second, whatever the server does; 0: closed loop");
  app.add_option("--seconds", arguments.seconds)->check(CLI::Range(0.1, 3600.0));
  app.add_option("--warmup", arguments.warmup, "seconds before that")
      ->check(CLI::Range(0.0, 600.0));
  app.add_option("--phase", arguments.phases,
                 "NAME:RATE:SECONDS, one after the other, instead of those");
  app.add_option("--patience", load.patience_s,
                 "seconds after which a request that no connection was free "
                 "for is given up");
  app.add_flag("--even", arguments.even, "arrivals evenly spaced; else of a Poisson process");
  app.add_option("--interval", load.interval_s, "seconds of a step of the timeline; 0: none");
  app.add_option("--seed", load.seed);
  CLI11_PARSE(app, argc, argv);
  load.grpc = !arguments.grpc.empty();
  load.poisson = !arguments.even;
  const std::string& where = load.grpc ? arguments.grpc : arguments.http;
  const size_t colon = where.rfind(':');
  std::string wrong = colon == std::string::npos ? "give --http or --grpc HOST:PORT" : "";
  if (wrong.empty()) wrong = ReadBodies(arguments);
  if (wrong.empty()) wrong = ReadPhases(arguments);
  if (wrong.empty()) {
    load.host = where.substr(0, colon);
    load.port = where.substr(colon + 1);
    LoadRun run(load);
    wrong = load.grpc ? RunGrpc(load, run) : RunHttp(load, run);
    if (wrong.empty()) std::printf("%s\n", run.Report().c_str());
  }
  if (wrong.empty()) return 0;
  std::fprintf(stderr, "serve_load: %s\n", wrong.c_str());
  return 2;
}

}  // namespace
}  // namespace sightline::load

int main(int argc, char** argv) { return sightline::load::Main(argc, argv); }
