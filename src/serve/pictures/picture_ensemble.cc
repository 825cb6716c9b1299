#include "serve/pictures/picture_ensemble.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "serve/inference/model_repository.h"
#include "serve/inference/tensor_types.h"
#include "serve/pictures/picture_json.h"
#include "serve/pictures/picture_upload.h"

namespace sightline::serve {
namespace {

enum Output : size_t { kCount, kBoxes, kScores, kClasses, kJson };

// One request while its pictures are looked at.
struct EnsembleCall {
  std::unique_ptr<InferCall> call;
  std::string copied;  // what lay in shared memory
  std::vector<absl::StatusOr<PictureAnswer>> answers;
  std::atomic<size_t> left{0};
};

template <typename Value>
void Append(Value value, std::string& bytes) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

size_t MostItems(const EnsembleCall& ensemble) {
  size_t most = 0;
  for (const auto& answer : ensemble.answers) {
    most = std::max(most, answer->results.items.size());
  }
  return most;
}

// One number (or box) for each item, filled up to `most`.
template <typename Write>
void AppendItems(const EnsembleCall& ensemble, size_t most, const Write& write) {
  for (const auto& answer : ensemble.answers) {
    const std::vector<Detection>& items = answer->results.items;
    for (size_t i = 0; i < most; ++i) write(i < items.size() ? &items[i] : nullptr);
  }
}

void Fill(const EnsembleCall& ensemble, size_t which, InferOutput& output) {
  const auto rows = static_cast<int64_t>(ensemble.answers.size());
  const size_t most = MostItems(ensemble);
  std::string& bytes = output.bytes;
  output.shape = {rows, static_cast<int64_t>(most)};
  switch (which) {
    case kCount:
      output.shape = {rows, 1};
      for (const auto& answer : ensemble.answers) {
        Append(static_cast<int32_t>(answer->results.items.size()), bytes);
      }
      break;
    case kBoxes:
      output.shape.push_back(4);
      AppendItems(ensemble, most, [&](const Detection* item) {
        const Box box = item != nullptr ? item->box_px : Box();
        for (const float value : {box.x1, box.y1, box.x2, box.y2}) Append(value, bytes);
      });
      break;
    case kScores:
      AppendItems(ensemble, most, [&](const Detection* item) {
        Append(item != nullptr ? item->confidence : 0.0f, bytes);
      });
      break;
    case kClasses:
      AppendItems(ensemble, most, [&](const Detection* item) {
        Append(item != nullptr ? item->class_id : int32_t{-1}, bytes);
      });
      break;
    default:
      output.shape = {rows, 1};
      for (const auto& answer : ensemble.answers) AppendString(PictureJson(*answer), bytes);
  }
}

absl::Status ToShared(const SharedPlace& shared, InferOutput& output) {
  const std::string bytes = std::exchange(output.bytes, {});
  output.shared = shared;
  output.shared.bytes = bytes.size();
  if (bytes.size() > shared.bytes) {
    return InvalidArgument(
        "shared memory size specified with the request for output '{}' ({} bytes) should be at "
        "least {} bytes to hold the results",
        output.name, shared.bytes, bytes.size());
  }
  return shared.region->Write(shared.offset, bytes.size(), bytes.data());
}

absl::Status WriteOutputs(const EnsembleCall& ensemble) {
  InferCall& call = *ensemble.call;
  for (size_t i = 0; i < ensemble.answers.size(); ++i) {
    const absl::Status status = ensemble.answers[i].status();
    if (status.ok()) continue;
    return ensemble.answers.size() == 1 ? status
                                        : WithContext(status, fmt::format("picture {}", i));
  }
  for (const InferCall::Wanted& wanted : call.outputs) {
    const TensorInfo& info = call.model->outputs()[wanted.output];
    if (wanted.classes > 0) {
      return InvalidArgument("the output '{}' is no list of classes' scores", info.name);
    }
    InferOutput& output = call.response.outputs.emplace_back();
    output.name = info.name;
    output.dtype = info.dtype;
    Fill(ensemble, wanted.output, output);
    if (wanted.shared.region) SL_RETURN_IF_ERROR(ToShared(wanted.shared, output));
  }
  return absl::OkStatus();
}

void Finish(EnsembleCall& ensemble) {
  InferCall* const call = ensemble.call.get();
  const Clock& clock = call->model->clock();
  call->times.ran_us = clock.NowMonotonicUs();
  absl::Status status;
  try {
    status = WriteOutputs(ensemble);
  } catch (const std::bad_alloc&) {
    status = ResourceExhausted("no memory for the answer; try again later");
  }
  call->times.emptied_us = clock.NowMonotonicUs();
  if (status.ok()) call->model->statistics().Executed(call->rows, call->times);
  ensemble.call.release()->Done(status);
}

absl::Status ReadShared(const InferInput& input, std::string& copied) {
  copied.resize(input.shared.bytes);
  SL_RETURN_IF_ERROR(input.shared.region->Read(input.shared.offset, copied.size(), copied.data()));
  return CheckStrings(copied, input.shape[0]);
}

void Run(const std::string& base, PictureService& pictures, std::unique_ptr<InferCall> call) {
  const auto ensemble = std::make_shared<EnsembleCall>();
  ensemble->call = std::move(call);
  InferCall& now = *ensemble->call;
  const InferInput& input = now.input(0);
  now.times.began_us = now.times.filled_us = now.model->clock().NowMonotonicUs();
  std::string_view strings = input.memory();
  if (input.shared.region) {
    const absl::Status read = ReadShared(input, ensemble->copied);
    if (!read.ok()) return ensemble->call.release()->Done(read);
    strings = ensemble->copied;
  }
  const auto rows = static_cast<size_t>(now.rows);
  if (rows == 0) {
    return ensemble->call.release()->Done(InvalidArgument("no picture in the input 'image'"));
  }
  if (now.request.context != nullptr) now.request.context->Charge(rows - 1);
  PictureRequest common;
  common.model = base;
  common.version = now.model->version();
  common.source = now.request.source;
  common.context = now.request.context;
  common.priority = now.request.priority;
  common.timeout_us = now.request.timeout_us;
  common.backing = ensemble;
  common.gone = now.request.gone;
  ensemble->answers.assign(rows, absl::UnknownError("not looked at"));
  ensemble->left.store(rows);
  for (size_t i = 0; i < rows; ++i) {
    PictureRequest request = common;
    request.is_part = i > 0;
    request.bytes = TakeString(strings);
    pictures.Answer(std::move(request), [ensemble, i](absl::StatusOr<PictureAnswer>&& answer) {
      ensemble->answers[i] = std::move(answer);
      if (ensemble->left.fetch_sub(1) == 1) Finish(*ensemble);
    });
  }
}

}  // namespace

std::shared_ptr<ServedModel> MakePictureEnsemble(const ServedModel& base,
                                                 PictureService& pictures) {
  EnsembleOptions options;
  options.name = base.name() + std::string(ModelRepository::kPicturesEnding);
  options.of = base.name();
  options.max_batch = static_cast<int>(kMostPictures);
  options.inputs = {{"image", DataType::kString, {-1, 1}}};
  options.outputs = {{"num_detections", DataType::kInt32, {-1, 1}},
                     {"detection_boxes", DataType::kFloat32, {-1, -1, 4}},
                     {"detection_scores", DataType::kFloat32, {-1, -1}},
                     {"detection_classes", DataType::kInt32, {-1, -1}},
                     {"json", DataType::kString, {-1, 1}}};
  options.run = [name = base.name(), &pictures](std::unique_ptr<InferCall> call) {
    Run(name, pictures, std::move(call));
  };
  return ServedModel::MakeEnsemble(base, std::move(options));
}

void AddPictureEnsembles(PictureService& pictures, InferenceService& service) {
  service.repository().ServePicturesAs(
      [&pictures](const std::shared_ptr<ServedModel>& base) -> std::shared_ptr<ServedModel> {
        if (base->settings().pictures.use == PictureUse::kOff) return nullptr;
        return MakePictureEnsemble(*base, pictures);
      });
}

}  // namespace sightline::serve
