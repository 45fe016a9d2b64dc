// The operators of utils/cpu_ops in MindSpore Lite 2.0.0: graphs for it on a CPU name them.
#ifndef ASCEND310_INFER_INC_LITE_OPS_H_
#define ASCEND310_INFER_INC_LITE_OPS_H_

// Makes them known to the runtime; they work with so many threads. Once, before a graph is built.
void RegisterCpuOps(int threads);

#endif  // ASCEND310_INFER_INC_LITE_OPS_H_
