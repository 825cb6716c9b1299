// What the work of a request costs without a server: decoding the JPEG, filling the model's input, running the model.
// Nothing is sent, no box is decoded, nothing is written.
//
//   serve_floor --model ultraface.onnx --decode full a.jpg b.jpg ...     JPEG in, model's outputs out
//   serve_floor --model ultraface.onnx --tensors                         the model alone, its input as it is
//
// Every thread has buffers of its own and runs the one loaded model on itself, as fast as it can. Prints a line of JSON.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>
#include <sys/resource.h>
#include <turbojpeg.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "infer/backends/onnxruntime/onnxruntime_library.h"
#include "vision/preprocess.h"

namespace sightline {
namespace {

using Clock = std::chrono::steady_clock;

struct Arguments {
  std::string model;
  std::vector<std::string> pictures;
  std::string decode = "full";
  bool tensors = false;
  int threads = 2;
  int batch = 1;
  double seconds = 8;
};

// How pictures are decoded: "full" and "half" give BGR in full or half width and height, "full_yuv" and "half_yuv" the
// planes as they are in the file.
struct Decode {
  bool yuv = false;
  tjscalingfactor scale{1, 1};
};

double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

double CpuSeconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

class JpegDecoder {
 public:
  explicit JpegDecoder(const Decode& decode) : decode_(decode), handle_(tjInitDecompress()) {}
  ~JpegDecoder() { tjDestroy(handle_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  // The view is valid until the next call; false when it is no JPEG that is wanted here.
  bool Run(const std::string& jpeg, ImageView& view) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(jpeg.data());
    int width = 0, height = 0, sampling = 0, colors = 0;
    if (tjDecompressHeader3(handle_, bytes, jpeg.size(), &width, &height, &sampling, &colors) != 0)
      return false;
    view.width = TJSCALED(width, decode_.scale);
    view.height = TJSCALED(height, decode_.scale);
    if (!decode_.yuv) {
      pixels_.resize(static_cast<size_t>(view.width) * view.height * 3);
      view.format = PixelFormat::kBgr24;
      view.planes = {pixels_.data()};
      view.strides = {view.width * 3};
      return tjDecompress2(handle_, bytes, jpeg.size(), pixels_.data(), view.width, view.width * 3,
                           view.height, TJPF_BGR, 0) == 0;
    }
    if (sampling != TJSAMP_420) return false;
    view.format = PixelFormat::kI420;
    view.range = ColorRange::kFull;
    const int chroma_width = (view.width + 1) / 2, chroma_height = (view.height + 1) / 2;
    const size_t luma = static_cast<size_t>(view.width) * view.height;
    const size_t chroma = static_cast<size_t>(chroma_width) * chroma_height;
    pixels_.resize(luma + 2 * chroma);
    unsigned char* planes[3] = {pixels_.data(), pixels_.data() + luma,
                                pixels_.data() + luma + chroma};
    view.planes = {planes[0], planes[1], planes[2]};
    view.strides = {view.width, chroma_width, chroma_width};
    return tjDecompressToYUVPlanes(handle_, bytes, jpeg.size(), planes, view.width,
                                   view.strides.data(), view.height, 0) == 0;
  }

 private:
  Decode decode_;
  tjhandle handle_;
  std::vector<unsigned char> pixels_;
};

struct Result {
  std::vector<double> took_ms;
  std::string wrong;
};

// What one thread does until `stop`.
void Work(Ort::Session& session, const Arguments& arguments, const Decode& decode,
          const std::vector<std::string>& jpegs, size_t first, const std::atomic<bool>& stop,
          Result& result) {
  Ort::AllocatorWithDefaultOptions allocator;
  const std::string input = session.GetInputNameAllocated(0, allocator).get();
  std::vector<std::string> output_names;
  for (size_t i = 0; i < session.GetOutputCount(); ++i) {
    output_names.emplace_back(session.GetOutputNameAllocated(i, allocator).get());
  }
  std::vector<const char*> outputs;
  for (const std::string& name : output_names) outputs.push_back(name.c_str());
  std::vector<int64_t> shape = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
  if (shape.empty()) {
    result.wrong = "the model's input has no rows";
    return;
  }
  shape[0] = shape[0] < 1 ? arguments.batch : shape[0];
  size_t elements = 1;
  for (const int64_t size : shape) elements *= static_cast<size_t>(std::max<int64_t>(1, size));
  std::vector<float> values(elements, 0.25f);
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  Ort::Value tensor =
      Ort::Value::CreateTensor<float>(memory, values.data(), elements, shape.data(), shape.size());
  Ort::IoBinding binding(session);
  binding.BindInput(input.c_str(), tensor);
  for (const char* name : outputs) binding.BindOutput(name, memory);
  JpegDecoder decoder(decode);
  std::unique_ptr<Preprocessor> preprocessor;
  if (!arguments.tensors) {
    // As Ultra-Light's reference: stretched, RGB, (x - 127) / 128.
    TensorRecipe recipe;
    if (shape.size() == 4) {
      recipe.width = static_cast<int>(shape[3]);
      recipe.height = static_cast<int>(shape[2]);
    }
    recipe.mean = {127, 127, 127};
    recipe.scale = {1 / 128.f, 1 / 128.f, 1 / 128.f};
    auto made = Preprocessor::Create(recipe);
    if (!made.ok() || elements != static_cast<size_t>(recipe.width) * recipe.height * 3) {
      result.wrong = "the model's input is no picture";
      return;
    }
    preprocessor = std::make_unique<Preprocessor>(*std::move(made));
  }
  for (size_t i = first; !stop.load(std::memory_order_relaxed); ++i) {
    const auto begun = Clock::now();
    if (preprocessor) {
      ImageView view;
      if (!decoder.Run(jpegs[i % jpegs.size()], view) ||
          !preprocessor->Run(view, values.data(), nullptr).ok()) {
        result.wrong =
            "picture " + std::to_string(i % jpegs.size()) + " cannot be decoded in this way";
        return;
      }
    }
    session.Run(Ort::RunOptions{nullptr}, binding);
    result.took_ms.push_back(Seconds(Clock::now() - begun) * 1e3);
  }
}

std::string Measure(const Arguments& arguments, nlohmann::ordered_json& report) {
  std::vector<std::string> jpegs;
  for (const std::string& name : arguments.pictures) {
    std::ifstream file(name, std::ios::binary);
    if (!file) return name + " cannot be read";
    jpegs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  if (jpegs.empty() && !arguments.tensors) return "give pictures, or --tensors";
  Decode decode;
  decode.yuv = arguments.decode.ends_with("_yuv");
  if (arguments.decode.starts_with("half")) decode.scale = {1, 2};
  const auto library = LoadOnnxRuntime(DefaultOnnxRuntimeSearch());
  if (!library.ok()) return std::string(library.status().message());
  Ort::InitApi(library->api);
  Ort::Env environment(ORT_LOGGING_LEVEL_ERROR, "serve_floor");
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  Ort::Session session(environment, arguments.model.c_str(), options);

  std::atomic<bool> stop{false};
  std::vector<Result> results(arguments.threads);
  std::vector<std::thread> threads;
  const double cpu_before_s = CpuSeconds();
  const auto begun = Clock::now();
  for (int i = 0; i < arguments.threads; ++i) {
    threads.emplace_back([&, i] {
      try {
        Work(session, arguments, decode, jpegs, static_cast<size_t>(i) * 7, stop, results[i]);
      } catch (const Ort::Exception& error) {
        results[i].wrong = error.what();
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(arguments.seconds));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  const double wall_s = Seconds(Clock::now() - begun), cpu_s = CpuSeconds() - cpu_before_s;
  std::vector<double> took_ms;
  for (const Result& result : results) {
    if (!result.wrong.empty()) return result.wrong;
    took_ms.insert(took_ms.end(), result.took_ms.begin(), result.took_ms.end());
  }
  if (took_ms.empty()) return "nothing was done in that time";
  std::sort(took_ms.begin(), took_ms.end());
  const double count = static_cast<double>(took_ms.size());
  const auto quantile = [&](double part) {
    return took_ms[static_cast<size_t>(part * (count - 1))];
  };
  report = {{"what", arguments.tensors ? "tensors" : arguments.decode},
            {"threads", arguments.threads},
            {"batch", arguments.batch},
            {"runs", took_ms.size()},
            {"runs_per_s", count / wall_s},
            {"rows_per_s", count * arguments.batch / wall_s},
            {"cpu_ms_per_run", cpu_s * 1e3 / count},
            {"p50_ms", quantile(0.5)},
            {"p99_ms", quantile(0.99)}};
  return "";
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Decoding and inference, and nothing else.");
  app.add_option("pictures", arguments.pictures, "JPEG files, in rotation");
  app.add_option("--model", arguments.model, "ONNX; with pictures an Ultra-Light face detector")
      ->required();
  app.add_option("--decode", arguments.decode)
      ->check(CLI::IsMember({"full", "half", "full_yuv", "half_yuv"}));
  app.add_flag("--tensors", arguments.tensors, "the model alone");
  app.add_option("--threads", arguments.threads)->check(CLI::Range(1, 256));
  app.add_option("--batch", arguments.batch,
                 "rows of a run, where the model's first dimension is free")
      ->check(CLI::Range(1, 1024));
  app.add_option("--seconds", arguments.seconds)->check(CLI::Range(0.1, 600.0));
  CLI11_PARSE(app, argc, argv);
  nlohmann::ordered_json report;
  std::string wrong;
  try {
    wrong = Measure(arguments, report);
  } catch (const std::exception& error) {
    wrong = error.what();
  }
  if (wrong.empty()) {
    std::printf("%s\n", report.dump().c_str());
    return 0;
  }
  std::fprintf(stderr, "serve_floor: %s\n", wrong.c_str());
  return 1;
}

}  // namespace
}  // namespace sightline

int main(int argc, char** argv) { return sightline::Main(argc, argv); }
