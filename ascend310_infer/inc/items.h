// The files of an input folder, as the tensors that a graph takes.
#ifndef ASCEND310_INFER_INC_ITEMS_H_
#define ASCEND310_INFER_INC_ITEMS_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "interface.h"

struct HostTensor {
  std::vector<int64_t> shape;
  std::string bytes;
  double gain = 1;  // that the values of a recording were multiplied by
};

struct Item {
  std::filesystem::path name;                // of its results, without the suffix; may have folders
  std::vector<std::filesystem::path> files;  // one per input, or one wav file
};

// Items of a folder in the order of their names: of its numbered folders 00_data, 01_data, ..., one per input; else of
// the .bin files in it; else of its wav files, for a graph that takes a waveform. UserError where there are none.
// The length that a graph with gears takes has no file. What is in the folder of the results is no item.
std::vector<Item> FindItems(const std::filesystem::path &folder, const std::filesystem::path &results,
                            const Interface &interface);

// The tensors of an item's files. UserError where a file is unreadable, of another size than the graph takes, or a
// recording that is not fit (fitness.h).
std::vector<HostTensor> ReadItem(const Item &item, const Interface &interface);

#endif  // ASCEND310_INFER_INC_ITEMS_H_
