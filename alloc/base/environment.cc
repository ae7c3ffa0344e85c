#include "plimsoll/alloc/base/environment.h"

#include <sys/auxv.h>

extern "C" char** environ;

namespace plimsoll::base {

const char* FindHeeded(const char* const* environment, bool secure, std::string_view name) {
  if (environment == nullptr || secure) return nullptr;
  for (; *environment != nullptr; ++environment) {
    const std::string_view entry(*environment);
    if (entry.size() > name.size() && entry[name.size()] == '=' && entry.starts_with(name)) {
      return *environment + name.size() + 1;
    }
  }
  return nullptr;
}

const char* FromEnvironment(std::string_view name) {
  // libc knows the auxiliary vector not later than the environment.
  if (environ == nullptr) return nullptr;
  return FindHeeded(environ, getauxval(AT_SECURE) != 0, name);
}

}  // namespace plimsoll::base
