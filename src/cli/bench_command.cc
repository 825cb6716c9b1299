// `sightline bench`: what decoding, preprocessing and bare inference cost on this machine, the
// floor under any run. The benchmarks in benchmarks/ put these beside whole runs and beside other
// programs.
#include <fmt/format.h>

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/json_text.h"
#include "base/thread.h"
#include "base/time.h"
#include "cli/commands.h"
#include "cli/composition.h"
#include "cli/model_trial.h"
#include "cli/run_options.h"
#include "cli/standard_output.h"
#include "detect/detector_factory.h"
#include "infer/backend.h"
#include "media/open_source.h"
#include "vision/preprocess.h"

namespace sightline::cli {
namespace {

struct BenchOptions {
  std::string file;
  std::string model;
  std::string backend;
  int sessions = 2;
  int threads = 1;
  int batch = 1;
  int iterations = 200;
  int repeat = 1;
  int decode_threads = 1;
};

struct Measured {
  uint64_t count = 0;
  double wall_s = 0;
  double cpu_s = 0;
};

// Wall and CPU time between construction and Take().
class StopWatch {
 public:
  Measured Take(uint64_t count) const {
    return {count, (Clock::Real().NowMonotonicUs() - wall_us_) * 1e-6,
            ProcessCpuSeconds() - cpu_s_};
  }

 private:
  int64_t wall_us_ = Clock::Real().NowMonotonicUs();
  double cpu_s_ = ProcessCpuSeconds();
};

int Print(const char* what, const Measured& m) {
  const double n = m.count > 0 ? static_cast<double>(m.count) : 1;
  const nlohmann::json line = {{"bench", what},
                               {"count", m.count},
                               {"wall_s", m.wall_s},
                               {"cpu_s", m.cpu_s},
                               {"cpu_ms_each", m.cpu_s * 1e3 / n},
                               {"per_s", m.wall_s > 0 ? n / m.wall_s : 0}};
  PrintOut("{}\n", JsonText(line));
  return 0;
}

absl::StatusOr<std::unique_ptr<FrameSource>> OpenVideo(const BenchOptions& options,
                                                       FrameLedger& ledger) {
  SourceOptions source_options;
  source_options.camera =
      std::make_shared<const CameraInfo>(CameraInfo{.id = "bench", .source = options.file});
  source_options.url = options.file;
  source_options.decode_threads = options.decode_threads;
  return OpenSource(source_options, ledger);
}

absl::StatusOr<Measured> Decode(const BenchOptions& options) {
  uint64_t frames = 0;
  const StopWatch watch;
  for (int i = 0; i < options.repeat; ++i) {
    FrameLedger ledger;
    SL_ASSIGN_OR_RETURN(const std::unique_ptr<FrameSource> source, OpenVideo(options, ledger));
    while (true) {
      SL_ASSIGN_OR_RETURN(const std::optional<Frame> frame, source->Next());
      if (!frame) break;
      ++frames;
    }
  }
  return watch.Take(frames);
}

// Pictures to tensors as `model` wants them, of frames that were just decoded. Only the CPU time of
// that step counts.
absl::StatusOr<Measured> Preprocess(const BenchOptions& options) {
  SL_ASSIGN_OR_RETURN(const std::string file, ModelFileOf(options.model));
  SL_ASSIGN_OR_RETURN(const ModelSpec spec, SpecOfFile(file));
  SL_ASSIGN_OR_RETURN(Preprocessor preprocessor, Preprocessor::Create(spec.input));
  std::vector<uint8_t> tensor(TensorBytes(spec.input));
  FrameLedger ledger;
  SL_ASSIGN_OR_RETURN(const std::unique_ptr<FrameSource> source, OpenVideo(options, ledger));
  Measured measured;
  while (true) {
    SL_ASSIGN_OR_RETURN(const std::optional<Frame> frame, source->Next());
    if (!frame) return measured;
    const int64_t wall_us = Clock::Real().NowMonotonicUs();
    const double cpu_s = ThreadCpuSeconds();
    SL_RETURN_IF_ERROR(preprocessor.Run(frame->image, tensor.data(), nullptr));
    measured.cpu_s += ThreadCpuSeconds() - cpu_s;
    measured.wall_s += (Clock::Real().NowMonotonicUs() - wall_us) * 1e-6;
    ++measured.count;
  }
}

// Runs on ready tensors, `sessions` threads equally busy.
absl::StatusOr<Measured> Infer(const BenchOptions& options) {
  SL_ASSIGN_OR_RETURN(const std::string file, ModelFileOf(options.model));
  SL_ASSIGN_OR_RETURN(InferenceBackend * backend, BackendFor(options.backend, options.model));
  std::vector<std::unique_ptr<InferenceSession>> sessions;
  for (int i = 0; i < options.sessions; ++i) {
    SL_ASSIGN_OR_RETURN(std::unique_ptr<InferenceSession> session,
                        backend->Open({.model_file = file,
                                       .intra_op_threads = options.threads,
                                       .max_batch = options.batch,
                                       .parallel_sessions = options.sessions}));
    for (size_t input = 0; input < session->inputs().size(); ++input) {
      std::vector<int64_t> shape = session->inputs()[input].shape;
      if (shape.empty()) {
        return InvalidArgument("{}: the shape of its input {} is not in the file", file,
                               session->inputs()[input].name);
      }
      for (int64_t& size : shape) size = size < 0 ? 1 : size;
      if (session->inputs()[input].shape[0] < 0) shape[0] = options.batch;
      SL_ASSIGN_OR_RETURN(void* data, session->InputBuffer(input, shape));
      int64_t elements = 1;
      for (const int64_t size : shape) elements *= size;
      if (session->inputs()[input].dtype == DataType::kFloat32) {
        // Any finite picture costs the same; a ramp avoids the denormals that zeros can breed.
        for (int64_t e = 0; e < elements; ++e)
          static_cast<float*>(data)[e] = 0.25f + (e % 251) * 0.5f;
      }
    }
    SL_RETURN_IF_ERROR(session->Run().status());  // warm-up
    sessions.push_back(std::move(session));
  }
  std::atomic<int> left{options.iterations};
  std::vector<absl::Status> statuses(sessions.size());
  const StopWatch watch;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < sessions.size(); ++i) {
    absl::StatusOr<std::thread> thread = StartThread("bench", [&, i] {
      while (left.fetch_sub(1) > 0 && statuses[i].ok()) statuses[i] = sessions[i]->Run().status();
    });
    if (!thread.ok()) {
      statuses[i] = thread.status();
      left = 0;
      break;
    }
    threads.push_back(*std::move(thread));
  }
  for (std::thread& thread : threads) thread.join();
  const Measured measured = watch.Take(options.iterations);
  for (const absl::Status& status : statuses) SL_RETURN_IF_ERROR(status);
  return measured;
}

int Finish(const char* what, const absl::StatusOr<Measured>& measured) {
  return measured.ok() ? Print(what, *measured) : ReportFailure(measured.status());
}

}  // namespace

void AddBenchCommand(CLI::App& app, int& exit_code) {
  CLI::App* bench = app.add_subcommand(
      "bench", "Measure what decoding, preprocessing and bare inference cost here, as JSON lines");
  bench->require_subcommand(1);
  bench->footer("The whole set, with runs and peers beside it: ./dev bench");
  auto options = std::make_shared<BenchOptions>();

  CLI::App* decode =
      bench->add_subcommand("decode", "Decode a video, do nothing with the pictures");
  decode->add_option("FILE", options->file, "the video")->required();
  decode->add_option("--repeat", options->repeat, "times to decode it")->check(CLI::Range(1, 1000));
  decode->add_option("--threads", options->decode_threads, "decoder threads")
      ->check(CLI::Range(1, 64));
  decode->callback([options, &exit_code] { exit_code = Finish("decode", Decode(*options)); });

  CLI::App* preprocess = bench->add_subcommand(
      "preprocess", "Make a model's input of a video's pictures; decoding is not counted");
  preprocess->add_option("MODEL", options->model, "package name or ONNX file")->required();
  preprocess->add_option("FILE", options->file, "the video")->required();
  preprocess->callback(
      [options, &exit_code] { exit_code = Finish("preprocess", Preprocess(*options)); });

  CLI::App* infer = bench->add_subcommand("infer", "Run a model on ready tensors");
  infer->add_option("MODEL", options->model, "package name or ONNX file")->required();
  infer->add_option("--sessions", options->sessions, "threads, each with a session of its own")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  AddBackendOption(*infer, options->backend);
  infer->add_option("--threads", options->threads, "threads of each session")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  infer->add_option("--batch", options->batch, "pictures a run, of models that leave that open")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  infer->add_option("--iterations", options->iterations, "inferences in all")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  infer->callback([options, &exit_code] { exit_code = Finish("infer", Infer(*options)); });
}

}  // namespace sightline::cli
