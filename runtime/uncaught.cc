#include "plimsoll/runtime/uncaught.h"

#include <cxxabi.h>

#include <cstring>
#include <exception>
#include <string_view>
#include <typeinfo>

#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/runtime/sched/crash.h"
#include "plimsoll/runtime/symbolize/demangle.h"

namespace plimsoll {
namespace {

[[noreturn]] void OnTerminate() {
  base::RawText text;
  std::string_view file;
  uint32_t line = 0;
  if (const std::type_info* type = abi::__cxa_current_exception_type()) {
    try {
      throw;
    } catch (const Panic& panic) {
      text.Add(panic.what());
      file = panic.where().file_name();
      line = panic.where().line();
    } catch (const std::exception& e) {
      text.Add(e.what());
    } catch (const char* words) {
      text.Add(words);
    } catch (...) {
      char name[256] = "_ZTS";
      strncat(name, type->name(), sizeof(name) - 5);
      char readable[256];
      std::string_view of = symbolize::Demangle(name, readable);
      constexpr std::string_view kPrefix = "typeinfo name for ";
      if (of.starts_with(kPrefix)) of.remove_prefix(kPrefix.size());
      text.Add("an exception of type ");
      text.Add(of);
    }
  } else {
    // A joinable std::thread destroyed, a pure virtual call, an exception from a noexcept function
    // that was already being handled: nothing to quote.
    text.Add("std::terminate was called without an exception");
  }
  sched::CrashByPanic(text, file, line);
}

}  // namespace

void InstallUncaughtHandler() { std::set_terminate(OnTerminate); }

}  // namespace plimsoll
