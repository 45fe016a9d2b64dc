// Tries the readers and the writer of sound, and the reader of inputs.json. Reads commands from standard input, one per
// line, fields parted by tabs, and answers each with a line, "error: ..." where there is something to refuse:
//
//   read PATH RATE OUT    a recording at RATE Hz (0: its own), as float32 in the file OUT ("": nowhere)
//   write PATH RATE IN growing|whole|cut   a wav of the float32 in the file IN, 1000 at a time; cut: without its end
//   header PATH RATE N    the header of a wav of N samples
//   graph PATH            the description of a graph
//   numbers PATH text|voices   outputs of a network, float32 in a file, that such answers are to be made of
//   voices PATH N         the enrolled voices in a file, whose embeddings have N numbers
#include <algorithm>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "enrolment.h"
#include "error.h"
#include "interface.h"
#include "recording.h"
#include "text.h"
#include "wav_writer.h"

namespace {
using Fields = std::vector<std::string>;

Fields Split(const std::string &line) {
  Fields fields;
  std::stringstream stream(line + "\t");
  for (std::string field; std::getline(stream, field, '\t');) {
    fields.push_back(field);
  }
  return fields;
}

// Bytes of memory that the process had at most; getrusage() would count the process that started it.
int64_t Peak() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t size = 0;
    if (word == "VmHWM:" && status >> size) {
      return size * 1024;
    }
  }
  throw std::runtime_error("/proc does not tell the memory");
}

std::string Read(const Fields &fields) {
  Recording recording(fields.at(1));
  const int64_t rate = std::stoll(fields.at(2)) > 0 ? std::stoll(fields.at(2)) : recording.rate();
  std::ofstream out(fields.at(3), std::ios::binary);
  size_t count = 0;
  recording.Read(rate, [&](const std::vector<float> &block) {
    out.write(reinterpret_cast<const char *>(block.data()), static_cast<std::streamsize>(block.size() * sizeof(float)));
    count += block.size();
  });
  std::ostringstream answer;
  answer << recording.frames() << " " << recording.rate() << " " << count << " " << recording.gain() << " " << Peak();
  for (const std::string &note : recording.notes()) {
    answer << "\t" << note;
  }
  return answer.str();
}

std::string Write(const Fields &fields) {
  const std::string &mode = fields.at(4);
  WavWriter writer(fields.at(1), std::stoll(fields.at(2)),
                   mode == "growing" ? WavWriter::Mode::kGrowing : WavWriter::Mode::kWhole);
  std::ifstream in(fields.at(3), std::ios::binary);
  std::vector<float> samples(1000);
  while (in.read(reinterpret_cast<char *>(samples.data()), 4000) || in.gcount() > 0) {
    writer.Write({samples.begin(), samples.begin() + in.gcount() / 4});
  }
  if (mode == "whole") {
    writer.Close();
  }
  return "written";
}

std::string Header(const Fields &fields) {
  std::ofstream(fields.at(1), std::ios::binary) << WavHeader(std::stoll(fields.at(2)), std::stoull(fields.at(3)));
  return "written";
}

std::string Graph(const Fields &fields) {
  const Interface interface = ReadInterface(fields.at(1));
  return std::to_string(interface.inputs.size()) + " inputs";
}

std::string Numbers(const Fields &fields) {
  std::ifstream in(fields.at(1), std::ios::binary);
  std::vector<float> values;
  for (float value = 0; in.read(reinterpret_cast<char *>(&value), sizeof(value));) {
    values.push_back(value);
  }
  AnswerKind answer;
  answer.kind = fields.at(2) == "text" ? AnswerKind::Kind::kText : AnswerKind::Kind::kVoices;
  RequireNumbers(values, answer);
  return "fine";
}

std::string Voices(const Fields &fields) {
  return std::to_string(Enrolment::Read(fields.at(1), std::stoull(fields.at(2))).Means().size()) + " voices";
}

std::string Answer(const std::string &line) {
  const Fields fields = Split(line);
  try {
    const std::string &command = fields.at(0);
    return command == "read"      ? Read(fields)
           : command == "write"   ? Write(fields)
           : command == "header"  ? Header(fields)
           : command == "voices"  ? Voices(fields)
           : command == "graph"   ? Graph(fields)
           : command == "numbers" ? Numbers(fields)
                                  : throw std::logic_error("no such command");
  } catch (const UserError &error) {
    return "error: " + OneLine(error.what());
  } catch (const std::bad_alloc &) {
    return "error: not enough memory";
  }
}
}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << Answer(line) << std::endl;
  }
}
