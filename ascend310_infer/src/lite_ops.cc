// Compiled as MindSpore Lite is, with the old std::string: its kernels hold some.
#include "lite_ops.h"

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common.h"  // of utils/cpu_ops/kernels
#include "include/api/context.h"
#include "include/api/data_type.h"
#include "include/api/kernel_api.h"
#include "include/api/status.h"

// What headers of MindSpore Lite 2.0.0 declare that its Python package leaves out or that need one it leaves out:
// include/api/kernel.h, include/kernel_interface.h, include/registry/register_kernel.h and register_kernel_interface.h.
namespace mindspore::schema {
struct Primitive;  // of an operator, as flatbuffers stores it
enum PrimitiveType : uint8_t { PrimitiveType_NONE };
enum QuantType : int32_t { QuantType_QUANT_NONE };
}  // namespace mindspore::schema

namespace mindspore::kernel {
class Kernel : public IKernel<schema::Primitive> {
 public:
  virtual schema::PrimitiveType type() const { return type_; }
  virtual schema::QuantType quant_type() const { return quant_type_; }

 protected:
  schema::PrimitiveType type_ = schema::PrimitiveType_NONE;
  schema::QuantType quant_type_ = schema::QuantType_QUANT_NONE;
};

class KernelInterface {
 public:
  virtual ~KernelInterface() = default;
  virtual Status Infer(std::vector<MSTensor> *inputs, std::vector<MSTensor> *outputs,
                       const schema::Primitive *primitive) = 0;
  virtual Status Infer(std::vector<MSTensor> *inputs, std::vector<MSTensor> *outputs,
                       const schema::Primitive *primitive, const Kernel *kernel) = 0;
};
}  // namespace mindspore::kernel

namespace mindspore::kernel {
class OpLib {
 public:
  static bool RegOp(const std::string &description, const std::string &path);
};
}  // namespace mindspore::kernel

namespace mindspore::registry {
class RegisterKernel {
 public:
  using Creator = std::function<std::shared_ptr<kernel::Kernel>(
      const std::vector<MSTensor> &, const std::vector<MSTensor> &, const schema::Primitive *, const Context *)>;
  static Status RegCustomKernel(const std::vector<char> &arch, const std::vector<char> &provider, DataType data_type,
                                const std::vector<char> &type, Creator creator);
};

class RegisterKernelInterface {
 public:
  static Status CustomReg(const std::vector<char> &provider, const std::vector<char> &type,
                          std::function<std::shared_ptr<kernel::KernelInterface>()> creator);
};
}  // namespace mindspore::registry

extern "C" {
using Compute = int(int, void **, int *, int64_t **, const char **, void *, void *);
Compute BothDirections, ClippedRelu, Convolution, Depthwise, GlobalNorm, PRelu, SoftmaxStatistics, TemporalBlock,
    TimeStatistics;
}
extern "C" {
Shapes BothDirectionsInferShape(int *, int64_t **, AotExtra *);
Shape ClippedReluInferShape(int *, int64_t **, AotExtra *);
Shape ConvolutionInferShape(int *, int64_t **, AotExtra *);
Shape DepthwiseInferShape(int *, int64_t **, AotExtra *);
Shapes GlobalNormInferShape(int *, int64_t **, AotExtra *);
Shape PReluInferShape(int *, int64_t **, AotExtra *);
Shapes SoftmaxStatisticsInferShape(int *, int64_t **, AotExtra *);
Shapes TemporalBlockInferShape(int *, int64_t **, AotExtra *);
Shapes TimeStatisticsInferShape(int *, int64_t **, AotExtra *);
}

namespace {
using mindspore::MSTensor;
using mindspore::Status;

struct Operator {
  std::string name;
  std::function<Compute> compute;
  std::function<Shapes(int *, int64_t **, AotExtra *)> shapes;
  bool set;  // its last input is its settings
};

Shapes Several(Shapes shapes) { return shapes; }
Shapes Several(Shape shape) { return {std::move(shape)}; }

template <typename InferShape>
Operator Make(const char *name, Compute *compute, InferShape *infer, bool set = false) {
  return {name, compute, [infer](int *ndims, int64_t **shapes, AotExtra *extra) {
            return Several(infer(ndims, shapes, extra));
          }, set};
}
#define OPERATOR(name, ...) Make(#name, name, name##InferShape, ##__VA_ARGS__)

const std::vector<Operator> &Operators() {
  static const std::vector<Operator> operators = {
      OPERATOR(BothDirections),    OPERATOR(ClippedRelu, true),   OPERATOR(Convolution, true),
      OPERATOR(Depthwise, true),   OPERATOR(GlobalNorm),          OPERATOR(PRelu),
      OPERATOR(SoftmaxStatistics), OPERATOR(TemporalBlock, true), OPERATOR(TimeStatistics)};
  return operators;
}

class Settings final : public AotExtra {
 public:
  explicit Settings(std::vector<int64_t> values) : values_(std::move(values)) {}
  bool HasAttr(std::string) override { return true; }
  bool GetAttrBool(std::string) override { return false; }
  int64_t GetAttrInt(std::string) override { return 0; }
  float GetAttrFloat(std::string) override { return 0.0f; }
  std::string GetAttrStr(std::string) override { return {}; }
  std::vector<int64_t> GetAttrIntVec(std::string) override { return values_; }

 private:
  std::vector<int64_t> values_;
};

// The arguments of an operator, from tensors.
struct Call {
  std::vector<Shape> shapes;
  std::vector<int64_t *> rows;
  std::vector<int> ndims;
  Settings settings{{}};
  bool known = true;

  Call(const Operator &op, const std::vector<MSTensor> &inputs) {
    for (const MSTensor &input : inputs) {
      shapes.push_back(input.Shape());
      for (const int64_t size : shapes.back()) known = known && size >= 0;
    }
    if (op.set) {
      shapes.pop_back();
      MSTensor tensor = inputs.back();
      const auto *values = static_cast<const int32_t *>(tensor.MutableData());
      settings = Settings(std::vector<int64_t>(values, values + tensor.ElementNum()));
    }
    for (Shape &shape : shapes) {
      rows.push_back(shape.data());
      ndims.push_back(static_cast<int>(shape.size()));
    }
  }
};

class CpuOp final : public mindspore::kernel::Kernel {
 public:
  CpuOp(const Operator &op, const std::vector<MSTensor> &inputs, const std::vector<MSTensor> &outputs,
        const mindspore::schema::Primitive *primitive, const mindspore::Context *context)
      : op_(op) {
    inputs_ = inputs;
    outputs_ = outputs;
    primitive_ = primitive;
    context_ = context;
    SetAttr("type", op.name);
    // the type of a Primitive, the first field of its table
    const auto *table = reinterpret_cast<const uint8_t *>(primitive);
    const auto *fields = table - *reinterpret_cast<const int32_t *>(table);
    type_ = static_cast<mindspore::schema::PrimitiveType>(table[*reinterpret_cast<const uint16_t *>(fields + 4)]);
  }

  int Prepare() override { return 0; }
  int ReSize() override { return 0; }

  int Execute() override {
    Call call(op_, inputs_);
    std::vector<void *> data;
    for (size_t i = 0; i < call.shapes.size(); ++i) data.push_back(inputs_[i].MutableData());
    for (MSTensor &output : outputs_) data.push_back(output.MutableData());
    return op_.compute(static_cast<int>(data.size()), data.data(), call.ndims.data(), call.rows.data(), nullptr,
                       nullptr, &call.settings);
  }

 private:
  const Operator &op_;
};

class Shaping final : public mindspore::kernel::KernelInterface {
 public:
  explicit Shaping(const Operator &op) : op_(op) {}

  Status Infer(std::vector<MSTensor> *inputs, std::vector<MSTensor> *outputs,
               const mindspore::schema::Primitive *) override {
    Call call(op_, *inputs);
    if (!call.known) return mindspore::kLiteInferInvalid;
    const Shapes shapes = op_.shapes(call.ndims.data(), call.rows.data(), &call.settings);
    for (size_t i = 0; i < outputs->size(); ++i) {
      (*outputs)[i].SetShape(shapes[i]);
      (*outputs)[i].SetDataType(mindspore::DataType::kNumberTypeFloat32);
      (*outputs)[i].SetFormat((*inputs)[0].format());
    }
    return mindspore::kSuccess;
  }

  Status Infer(std::vector<MSTensor> *inputs, std::vector<MSTensor> *outputs,
               const mindspore::schema::Primitive *primitive, const mindspore::kernel::Kernel *) override {
    return Infer(inputs, outputs, primitive);
  }

 private:
  const Operator &op_;
};

std::vector<char> Characters(const std::string &text) { return {text.begin(), text.end()}; }
}  // namespace

void RegisterCpuOps(int threads) {
  setenv("CPU_OPS_THREADS", std::to_string(threads).c_str(), 1);
  // without it the runtime looks for the types of a custom operator's inputs in vain
  mindspore::kernel::OpLib::RegOp(
      R"({"op_name": "Custom", "imply_type": "CPU", "fusion_type": "OPAQUE", "attr": [], "inputs": [], "outputs": []})",
      "");
  const std::vector<char> provider = Characters("speech");
  for (const Operator &op : Operators()) {
    mindspore::registry::RegisterKernel::RegCustomKernel(
        Characters("CPU"), provider, mindspore::DataType::kNumberTypeFloat32, Characters(op.name),
        [&op](const auto &inputs, const auto &outputs, const auto *primitive, const auto *context) {
          return std::make_shared<CpuOp>(op, inputs, outputs, primitive, context);
        });
    mindspore::registry::RegisterKernelInterface::CustomReg(provider, Characters(op.name),
                                                            [&op] { return std::make_shared<Shaping>(op); });
  }
}
