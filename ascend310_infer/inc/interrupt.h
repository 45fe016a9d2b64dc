// Ctrl-C and SIGTERM: the work ends at the next block, and nothing half-written stays.
#ifndef ASCEND310_INFER_INC_INTERRUPT_H_
#define ASCEND310_INFER_INC_INTERRUPT_H_

// No std::exception, for it is no failure of a recording or a file.
struct Interruption {};

// From here on the signals are noted; a second one ends the program at once. Where they are ignored they stay so.
void NoteInterrupts();

// The same for what goes on until it is interrupted: a signal is taken in any case, and a read() that waits returns.
void NoteInterruptsOfReads();

bool IsInterrupted();

// Throws Interruption where a signal came.
void CheckInterrupt();

// Ends the program as the signal would have, so that a shell sees it: 130 after Ctrl-C, 143 after SIGTERM.
[[noreturn]] void EndAsInterrupted();

#endif  // ASCEND310_INFER_INC_INTERRUPT_H_
