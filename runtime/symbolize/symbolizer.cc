#include "plimsoll/runtime/symbolize/symbolizer.h"

#include <new>

#include "plimsoll/runtime/symbolize/demangle.h"

namespace plimsoll::symbolize {

Symbolizer::~Symbolizer() {
  for (Opened* o = opened_; o != nullptr; o = o->next) o->file.~ElfFile();
}

Symbolizer::Opened* Symbolizer::Open(const Module* module) {
  for (Opened* o = opened_; o != nullptr; o = o->next) {
    if (o->module == module) return o;
  }
  void* memory = scratch_.Allocate(sizeof(Opened));
  if (memory == nullptr) return nullptr;
  auto* o = ::new (memory) Opened{.module = module, .file = {}, .lines = {}, .next = opened_};
  opened_ = o;
  o->readable = o->file.Open(module->file, scratch_);
  o->has_lines = o->readable && o->lines.Open(o->file, scratch_);
  return o;
}

void Symbolizer::Locate(uintptr_t pc, bool after_call, Location* out) {
  *out = {};
  const uintptr_t at = after_call ? pc - 1 : pc;
  const Module* module = modules_.Find(at);
  if (module == nullptr) return;
  out->module = module->path;
  out->module_address = pc - module->bias;
  const Opened* opened = Open(module);
  if (opened == nullptr || !opened->readable) return;
  const uint64_t address = at - module->bias;
  if (const auto symbol = opened->file.Find(address)) {
    out->function = Demangle(symbol->name, name_);
    out->offset = out->module_address - symbol->start;
  }
  SourceLine line;
  if (opened->has_lines && opened->lines.Find(address, file_, &line)) {
    out->file = line.file;
    out->line = line.line;
  }
}

}  // namespace plimsoll::symbolize
