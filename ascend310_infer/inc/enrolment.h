// Enrolled voices: a JSON file of names and, for each, the embeddings of its utterances.
#ifndef ASCEND310_INFER_INC_ENROLMENT_H_
#define ASCEND310_INFER_INC_ENROLMENT_H_

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

using Embedding = std::vector<float>;

// Scales it to length 1. UserError where it has none.
void MakeUnit(Embedding *embedding);

// The cosine of two embeddings of length 1 and of one size.
double Cosine(const Embedding &first, const Embedding &second);

class Enrolment {
 public:
  // Voices of embeddings of `size` numbers; none at first.
  explicit Enrolment(size_t size) : size_(size) {}

  // Those of a file. UserError where it is missing, damaged, of a later version, or of another size.
  static Enrolment Read(const std::filesystem::path &path, size_t size);

  // Adds an utterance of a voice, an embedding of length 1.
  void Add(const std::string &name, const Embedding &embedding) { voices_[name].push_back(embedding); }

  // Writes the file, whole or not at all. OutputError where that fails.
  void Write(const std::filesystem::path &path) const;

  size_t Utterances(const std::string &name) const { return voices_.at(name).size(); }

  // The mean of each voice's embeddings, of length 1: as speaker_means of ecapatdnn/src/scoring.py.
  std::map<std::string, Embedding> Means() const;

 private:
  size_t size_;
  std::map<std::string, std::vector<Embedding>> voices_;
};

#endif  // ASCEND310_INFER_INC_ENROLMENT_H_
