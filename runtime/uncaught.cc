#include "plimsoll/runtime/uncaught.h"

#include <cxxabi.h>
#include <unistd.h>

#include <exception>
#include <typeinfo>

#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll {
namespace {

[[noreturn]] void OnTerminate() {
  base::RawText text;
  if (const std::type_info* type = abi::__cxa_current_exception_type()) {
    text.Add("panic: ");
    try {
      throw;
    } catch (const std::exception& e) {
      text.Add(e.what());
    } catch (const char* words) {
      text.Add(words);
    } catch (...) {
      text.Add("an exception of type ");
      text.Add(type->name());
    }
  } else {
    // A joinable std::thread destroyed, a pure virtual call, an exception from a noexcept function
    // that was already being handled: nothing to quote.
    text.Add("panic: std::terminate was called without an exception");
  }
  base::RawLogText(text);
  base::RawLog("\ngoroutine ", sched::GoroutineId(sched::CurrentG()), " [running]:");
  _exit(2);
}

}  // namespace

void InstallUncaughtHandler() { std::set_terminate(OnTerminate); }

}  // namespace plimsoll
