// The operators of utils/cpu_ops for MindSpore Lite 2.0.0 on a CPU: graphs for it name them.
#ifndef ASCEND310_INFER_INC_CPU_OPS_H_
#define ASCEND310_INFER_INC_CPU_OPS_H_

// Makes them known to the runtime, from the library beside the program that is for this processor, before a graph is
// built. The first call decides how many threads they work with; others after it do nothing. UserError where it fails.
void LoadCpuOps(int threads);

#endif  // ASCEND310_INFER_INC_CPU_OPS_H_
