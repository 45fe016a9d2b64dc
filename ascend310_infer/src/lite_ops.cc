// The operators of utils/cpu_ops as custom operators of MindSpore Lite 2.0.0: with the kernels a library of its own,
// which src/cpu_ops.cc opens. Compiled as Lite is, with the old std::string: its kernels hold some.
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
// include/api/kernel.h, include/kernel_interface.h, include/registry/register_kernel.h and register_kernel_interface.h;
// and of MindSpore's include/.../kernel/oplib/oplib.h. The order of virtual functions is their place in the table.
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
Compute TemporalBlock;
Compute TemporalBlockStep;
}
extern "C" Shapes TemporalBlockInferShape(int *, int64_t **, AotExtra *);
extern "C" Shapes TemporalBlockStepInferShape(int *, int64_t **, AotExtra *);

namespace {
using mindspore::MSTensor;
using mindspore::Status;

struct Operator {
  const char *name;
  Compute *compute;
  Shapes (*shapes)(int *, int64_t **, AotExtra *);
  size_t inputs, outputs;
  bool set;  // a last input is its settings
};

constexpr Operator kOperators[] = {
    {"TemporalBlock", TemporalBlock, TemporalBlockInferShape, 16, 5, true},
    {"TemporalBlockStep", TemporalBlockStep, TemporalBlockStepInferShape, 18, 5, true},
};

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
  bool fits;  // as many inputs as it takes, all of them of known size

  Call(const Operator &op, const std::vector<MSTensor> &inputs) : fits(inputs.size() == op.inputs + op.set) {
    for (const MSTensor &input : inputs) {
      shapes.push_back(input.Shape());
      for (const int64_t size : shapes.back()) fits = fits && size >= 0;
    }
    if (fits && op.set) {
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
    // the type of a Primitive: the first field of a table of flatbuffers
    const auto *table = reinterpret_cast<const uint8_t *>(primitive);
    const auto *fields = table - *reinterpret_cast<const int32_t *>(table);
    type_ = static_cast<mindspore::schema::PrimitiveType>(table[*reinterpret_cast<const uint16_t *>(fields + 4)]);
  }

  int Prepare() override { return 0; }
  int ReSize() override { return 0; }

  int Execute() override {
    Call call(op_, inputs_);
    if (!call.fits || outputs_.size() != op_.outputs) return kFailed;
    std::vector<void *> data;
    for (size_t i = 0; i < op_.inputs; ++i) data.push_back(inputs_[i].MutableData());
    for (MSTensor &output : outputs_) data.push_back(output.MutableData());
    for (const void *place : data) {
      if (place == nullptr) return kFailed;
    }
    return op_.compute(static_cast<int>(data.size()), data.data(), call.ndims.data(), call.rows.data(), nullptr,
                       nullptr, &call.settings);
  }

 private:
  static constexpr int kFailed = -1;
  const Operator &op_;
};

// What the shapes of its outputs are.
class Shaping final : public mindspore::kernel::KernelInterface {
 public:
  explicit Shaping(const Operator &op) : op_(op) {}

  Status Infer(std::vector<MSTensor> *inputs, std::vector<MSTensor> *outputs,
               const mindspore::schema::Primitive *) override {
    Call call(op_, *inputs);
    if (!call.fits || outputs->size() != op_.outputs) return mindspore::kLiteInferInvalid;
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

// Whether the runtime takes it.
bool Register(const Operator &op) {
  const std::vector<char> provider = Characters("speech"), name = Characters(op.name);
  const auto kernel = [&op](const auto &inputs, const auto &outputs, const auto *primitive, const auto *context) {
    return std::make_shared<CpuOp>(op, inputs, outputs, primitive, context);
  };
  const auto shaping = [&op] { return std::make_shared<Shaping>(op); };
  return mindspore::registry::RegisterKernel::RegCustomKernel(Characters("CPU"), provider,
                                                              mindspore::DataType::kNumberTypeFloat32, name,
                                                              kernel) == mindspore::kSuccess &&
         mindspore::registry::RegisterKernelInterface::CustomReg(provider, name, shaping) == mindspore::kSuccess;
}
}  // namespace

// Makes them known to the runtime; they work with so many threads. The name of what it does not take, null if it does.
extern "C" const char *RegisterCpuOps(int threads) {
  setenv("CPU_OPS_THREADS", std::to_string(threads).c_str(), 1);
  // without it the runtime looks for the types of a custom operator's inputs in vain
  const char *custom =
      R"({"op_name": "Custom", "imply_type": "CPU", "fusion_type": "OPAQUE", "attr": [], "inputs": [], "outputs": []})";
  if (!mindspore::kernel::OpLib::RegOp(custom, "")) return "custom operators";
  for (const Operator &op : kOperators) {
    if (!Register(op)) return op.name;
  }
  return nullptr;
}
