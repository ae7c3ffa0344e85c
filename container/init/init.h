// RunInit is the life of a PID 1 that runs one program: start, pass signals on, reap, exit as it
// did.
//
//   return RunInit(options, [](std::string_view line) { RawLog(line); });
//
// Result:    the program's ExitStatus::Code(), or 0 where options.success_codes holds it; 127 when
//            the program was not found, 126 when it may not be run, 1 when anything else went
//            wrong.
// Blocking:  the calling thread, until the program has ended. What the program leaves running is
//            not waited for: the kernel ends it with PID 1.
// Threads:   call it where there is one. It blocks all signals, and puts mask and dispositions back
//            when it returns; the program starts with those that the caller had.
// A runtime that is PID 1 itself does not call this: it uses Reaper, Child and
// InstallPid1Dispositions from its own loop.
#ifndef PLIMSOLL_CONTAINER_INIT_INIT_H_
#define PLIMSOLL_CONTAINER_INIT_INIT_H_

#include <functional>
#include <string_view>

#include "plimsoll/container/init/init_options.h"

namespace plimsoll::container {

// `log` gets one line at a time, without its newline: warnings, and with -v and -w what is done.
int RunInit(const InitOptions& options, const std::function<void(std::string_view)>& log);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_INIT_INIT_H_
