// In the place of the header that MindSpore Lite 2.0.0's include/api/kernel.h wants and its Python package leaves out:
// what flatbuffers makes of its schema. Kernels only pass the types on.
#ifndef ASCEND310_INFER_INC_SCHEMA_MODEL_GENERATED_H_
#define ASCEND310_INFER_INC_SCHEMA_MODEL_GENERATED_H_

#include <cstdint>

namespace mindspore::schema {
struct Primitive;
enum PrimitiveType : uint8_t { PrimitiveType_NONE = 0 };
enum QuantType : int32_t { QuantType_QUANT_NONE = 0 };
}  // namespace mindspore::schema

#endif  // ASCEND310_INFER_INC_SCHEMA_MODEL_GENERATED_H_
