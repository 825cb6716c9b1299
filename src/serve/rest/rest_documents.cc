#include "serve/rest/rest_documents.h"

#include <utility>

namespace sightline::serve {
namespace {

constexpr char kSchemas[] = R"({
"Error":{"type":"object","required":["error"],"properties":{"error":{"type":"string"}}},
"Object":{"type":"object"},
"List":{"type":"array","items":{"type":"object"}},
"Tensor":{"type":"object","required":["name","shape","datatype"],"properties":{
  "name":{"type":"string"},
  "shape":{"type":"array","items":{"type":"integer","minimum":0}},
  "datatype":{"type":"string","enum":["BOOL","UINT8","UINT16","UINT32","UINT64","INT8","INT16","INT32","INT64",
    "FP16","BF16","FP32","FP64","BYTES"]},
  "parameters":{"type":"object"},
  "data":{"type":"array"}}},
"InferRequest":{"type":"object","required":["inputs"],"properties":{
  "id":{"type":"string"},
  "parameters":{"type":"object"},
  "inputs":{"type":"array","items":{"$ref":"#/components/schemas/Tensor"}},
  "outputs":{"type":"array","items":{"type":"object","required":["name"],"properties":{
    "name":{"type":"string"},"parameters":{"type":"object"}}}}}},
"InferResponse":{"type":"object","required":["model_name","outputs"],"properties":{
  "model_name":{"type":"string"},
  "model_version":{"type":"string"},
  "id":{"type":"string"},
  "outputs":{"type":"array","items":{"$ref":"#/components/schemas/Tensor"}}}},
"Server":{"type":"object","required":["name","version","extensions"],"properties":{
  "name":{"type":"string"},"version":{"type":"string"},
  "extensions":{"type":"array","items":{"type":"string"}}}},
"Model":{"type":"object","required":["name","platform","inputs","outputs"],"properties":{
  "name":{"type":"string"},
  "versions":{"type":"array","items":{"type":"string"}},
  "platform":{"type":"string"},
  "inputs":{"type":"array","items":{"type":"object"}},
  "outputs":{"type":"array","items":{"type":"object"}}}},
"Classed":{"type":"object","required":["class_id","class","confidence"],"properties":{
  "class_id":{"type":"integer"},"class":{"type":"string"},
  "confidence":{"type":["number","null"]}}},
"Detection":{"allOf":[{"$ref":"#/components/schemas/Classed"},{"type":"object","required":["box_xyxy_px"],
  "properties":{
    "box_xyxy_px":{"type":"array","minItems":4,"maxItems":4,"items":{"type":["number","null"]}},
    "keypoints_px":{"type":"array","items":{"type":"array"}},
    "rotated_box":{"type":"object"},
    "mask":{"type":"object"}}}]},
"Found":{"type":"object","required":["version","width","height","detections"],"properties":{
  "version":{"type":"string"},
  "width":{"type":"integer"},
  "height":{"type":"integer"},
  "detections":{"type":"array","items":{"$ref":"#/components/schemas/Detection"}},
  "classes":{"type":"array","items":{"$ref":"#/components/schemas/Classed"}},
  "embedding":{"type":"array","items":{"type":["number","null"]}},
  "class_map":{"type":"object"},
  "anomaly":{"type":"object"}}},
"PictureResult":{"allOf":[{"$ref":"#/components/schemas/Found"},{"type":"object","required":["model"],
  "properties":{"model":{"type":"string"}}}]},
"PictureError":{"type":"object","required":["error","status"],"properties":{
  "name":{"type":"string"},"error":{"type":"string"},"status":{"type":"integer"}}},
"PictureResults":{"type":"object","required":["model","results"],"properties":{
  "model":{"type":"string"},
  "results":{"type":"array","items":{"anyOf":[{"$ref":"#/components/schemas/Found"},
    {"$ref":"#/components/schemas/PictureError"}]}}}},
"PictureRequest":{"type":"object","additionalProperties":false,"properties":{
  "image":{"type":"string","contentEncoding":"base64","description":"Or data:image/...;base64,..."},
  "images":{"type":"array","maxItems":32,"items":{"type":"string","contentEncoding":"base64"}},
  "confidence":{"type":"number","minimum":0,"maximum":1},
  "max":{"type":"integer","minimum":0},
  "classes":{"type":["array","string"],"items":{"type":["string","integer"]}},
  "priority":{"type":"integer","minimum":0,"maximum":16},
  "timeout_ms":{"type":"integer","minimum":0}}}
})";

std::string Reference(std::string_view schema) {
  return R"({"$ref":"#/components/schemas/)" + std::string(schema) + "\"}";
}

}  // namespace

std::shared_ptr<const RouteDocument> RestDocument(std::string summary, std::string_view answer,
                                                  RestBody body, std::string_view body_schema) {
  RouteDocument document;
  document.summary = std::move(summary);
  document.tag = "Open Inference Protocol";
  document.path = {{"model", "A served model", ""},
                   {"version", "One of its versions", ""},
                   {"region", "A region of shared memory", ""}};
  if (body != RestBody::kNone) {
    document.bodies = {{"application/json", Reference(body_schema)}};
    document.body_required = body == RestBody::kInfer;
  }
  if (body == RestBody::kInfer) {
    document.bodies.push_back({"application/octet-stream", ""});
    document.parameters = {{"Inference-Header-Content-Length",
                            "Bytes of the JSON before the binary tensors, where there are any",
                            R"({"type":"integer","minimum":1})", /*in_header=*/true}};
  }
  RouteDocument::Answer good{200, answer.empty() ? "Done" : "The answer", {}};
  if (!answer.empty()) good.contents.push_back({"application/json", Reference(answer)});
  if (body == RestBody::kInfer) good.contents.push_back({"application/octet-stream", ""});
  document.answers.push_back(std::move(good));
  for (const int status : {400, 404, 503}) {
    const std::string_view words = status == 400   ? "Wrong, or not ready"
                                   : status == 404 ? "No such model, version or region"
                                                   : "Not now; with Retry-After";
    document.answers.push_back(
        {status, std::string(words), {{"application/json", Reference("Error")}}});
  }
  return std::make_shared<const RouteDocument>(std::move(document));
}

std::string ServingSchemas() { return kSchemas; }

}  // namespace sightline::serve
