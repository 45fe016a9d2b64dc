// Runs an exported graph, over a folder of files or over recordings:
//
//   main --mindir_path FILE --input_path FOLDER --output_path FOLDER     writes the graph's outputs, see batch.h
//   main --mindir_path FILE talk.wav ...                                 gives the answers to recordings, see answers.h
//   main --mindir_path FILE --stream                                     to what arrives on standard input, see
//   stream.h
//
// Exit code 0 where all were run, 2 where some or all could not be, 1 after a defect of this program; after a signal
// that of the signal.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <new>

#include "answers.h"
#include "batch.h"
#include "error.h"
#include "interrupt.h"
#include "options.h"
#include "stream.h"
#include "text.h"

namespace fs = std::filesystem;

namespace {
constexpr size_t kLine = size_t{1} << 20;  // bytes of standard output that are written at once: no line in parts

// The runtime logs warnings and errors that are its own affair. It reads how much before main() begins: so once more.
void QuietRuntime(char **argv) {
  if (std::getenv("GLOG_v") == nullptr && setenv("GLOG_v", "4", 0) == 0) {
    execv("/proc/self/exe", argv);  // returns where that is not possible: with a few lines more
  }
}
}  // namespace

int main(int argc, char **argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files is an error of the write
  QuietRuntime(argv);
  std::setvbuf(stdout, nullptr, _IOFBF, kLine);
  try {
    const Options options = ParseOptions(argc, argv);
    if (options.stream) {
      return RunStream(options);
    }
    NoteInterrupts();
    return options.recordings.empty() ? RunBatch(options) : RunAnswers(options);
  } catch (const Interruption &) {
    std::cout.flush();
    EndAsInterrupted();
  } catch (const UserError &error) {
    PrintLine("error", error.what());
  } catch (const fs::filesystem_error &error) {
    PrintLine("error", error.path1().string() + ": " + error.code().message() + "; mend the path or the permissions");
  } catch (const std::bad_alloc &) {
    PrintLine("error", "not enough memory; free some, or take a smaller graph");
  } catch (const std::exception &error) {
    PrintDefect("", error.what());
    return 1;
  }
  return 2;
}
