// The command line.
#ifndef ASCEND310_INFER_INC_OPTIONS_H_
#define ASCEND310_INFER_INC_OPTIONS_H_

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "device.h"

struct Options {
  std::set<std::string> given;  // flags of the command line, without --

  std::string mindir_path;  // graph that export.py wrote, inputs.json beside it
  DeviceOptions device;

  // a folder
  std::string input_path;   // of numbered .bin folders, of .bin files or of .wav files
  std::string output_path;  // for <name>_<output>.bin and time_report.txt; of recordings for the speakers' wav files
  int warmup = 1;           // runs of the first item that are not timed

  // recordings
  std::vector<std::string> recordings;  // files
  bool stream = false;                  // raw PCM from standard input
  int sample_rate = 0;                  // of that, Hz; 0: the graph's
  bool json = false;                    // a JSON object per line
  bool timestamps = false;              // text with the times of words
  int beam_width = -1;                  // prefixes held, 0: greedy; -1: as the graph says
  std::string lm_path;                  // a language model
  std::optional<double> alpha;          // weight of its log probability; none: as the graph says
  std::optional<double> beta;           // reward of a word; none: as the graph says
  bool embed = false;                   // the embedding of each recording
  std::optional<double> threshold;      // the least score of one speaker; none: the graph's
  std::string enrolled;                 // file of enrolled voices
  std::string enrol;                    // name under which the recordings are added to it
};

// UserError for a flag that is unknown, missing or has no sense.
Options ParseOptions(int argc, const char *const *argv);

#endif  // ASCEND310_INFER_INC_OPTIONS_H_
