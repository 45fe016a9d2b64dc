#include "interrupt.h"

#include <csignal>
#include <cstdlib>
#include <initializer_list>

namespace {
volatile std::sig_atomic_t received = 0;  // the signal; 0: none

void Note(int signal) {
  received = signal;
  std::signal(signal, SIG_DFL);
}

void Handle(int signal, int flags, bool even_if_ignored) {
  struct sigaction before = {};
  sigaction(signal, nullptr, &before);
  if (before.sa_handler == SIG_IGN && !even_if_ignored) {
    return;
  }
  struct sigaction action = {};
  action.sa_handler = Note;
  action.sa_flags = flags;
  sigaction(signal, &action, nullptr);
}
}  // namespace

void NoteInterrupts() {
  for (const int signal : {SIGINT, SIGTERM}) {
    Handle(signal, SA_RESTART, false);
  }
}

void NoteInterruptsOfReads() {
  for (const int signal : {SIGINT, SIGTERM}) {
    Handle(signal, 0, true);
  }
}

bool IsInterrupted() { return received != 0; }

void CheckInterrupt() {
  if (IsInterrupted()) {
    throw Interruption();
  }
}

void EndAsInterrupted() {
  std::signal(received, SIG_DFL);
  std::raise(received);
  std::_Exit(128 + received);  // where the signal is blocked
}
