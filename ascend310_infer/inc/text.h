// Text for one line on a screen, and for a shell.
#ifndef ASCEND310_INFER_INC_TEXT_H_
#define ASCEND310_INFER_INC_TEXT_H_

#include <cstddef>
#include <string>

// Whether all of it is UTF-8, as JSON texts must be.
bool IsUtf8(const std::string &text);

// Control characters and bytes that are no UTF-8 as \xNN: names of files may hold both.
std::string OneLine(const std::string &text);

// One word of a shell command.
std::string Quoted(const std::string &word);

// Prints one line on stderr: "error: ...", "note: ...".
void PrintLine(const std::string &kind, const std::string &text);

// The line at the end of several `things` of which some failed.
void PrintFailures(size_t failed, size_t all, const std::string &things);

// The line for what nobody has thought of; `place` ends in ": " or is empty.
void PrintDefect(const std::string &place, const std::string &what);

#endif  // ASCEND310_INFER_INC_TEXT_H_
