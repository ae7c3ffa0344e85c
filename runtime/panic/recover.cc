#include "plimsoll/runtime/panic/recover.h"

#include <typeinfo>

#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll {
namespace {

std::string TextOfCurrentException() {
  try {
    throw;
  } catch (const std::exception& e) {
    return e.what();
  } catch (const char* words) {
    return words;
  } catch (...) {
    return std::string("an exception of type ") + abi::__cxa_current_exception_type()->name();
  }
}

}  // namespace

Recovered::Recovered() : exception_(std::current_exception()), what_(TextOfCurrentException()) {}

void Recovered::Repanic() const {
  std::source_location where;
  try {
    std::rethrow_exception(exception_);
  } catch (const Panic& panic) {
    where = panic.where();
  } catch (...) {  // NOLINT(bugprone-empty-catch): no place is known
  }
  throw Panic(what_ + " [recovered, repanicked]", where);
}

}  // namespace plimsoll
