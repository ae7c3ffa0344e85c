// What the process says and does when an exception leaves a goroutine: Go's words for a panic.
//
//   panic: boom
//
//   goroutine 5 [running]:
//
// and exit status 2. The stack is whole then: no frame of the runtime catches (runtime/DESIGN.md).
#ifndef PLIMSOLL_RUNTIME_UNCAUGHT_H_
#define PLIMSOLL_RUNTIME_UNCAUGHT_H_

namespace plimsoll {

// Installs the terminate handler.
void InstallUncaughtHandler();

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_UNCAUGHT_H_
