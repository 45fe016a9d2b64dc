// What a user did wrong, reported in one line that names the thing, what was found and what was expected.
#ifndef ASCEND310_INFER_INC_ERROR_H_
#define ASCEND310_INFER_INC_ERROR_H_

#include <stdexcept>

class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Nothing can be written any more, for one item or another: the folder or the disk is at fault.
class OutputError : public UserError {
 public:
  using UserError::UserError;
};

#endif  // ASCEND310_INFER_INC_ERROR_H_
