// The command line.
#ifndef ASCEND310_INFER_INC_OPTIONS_H_
#define ASCEND310_INFER_INC_OPTIONS_H_

#include <string>

struct Options {
  std::string mindir_path;               // graph that export.py wrote, inputs.json beside it
  std::string input_path;                // folder of numbered .bin folders, of .bin files or of .wav files
  std::string output_path;               // folder for <name>_<output>.bin and time_report.txt
  std::string device_target = "Ascend";  // or CPU
  int device_id = 0;
  std::string precision = "preferred_fp32";  // on an Ascend: a name of AscendDeviceInfo::SetPrecisionMode
  int threads = 2;                           // on a CPU
  int warmup = 1;                            // runs of the first item that are not timed
};

// UserError for a flag that is unknown, missing or has no sense.
Options ParseOptions(int argc, const char *const *argv);

#endif  // ASCEND310_INFER_INC_OPTIONS_H_
