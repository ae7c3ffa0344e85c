// A Root keeps a collected object from memory that the collector does not scan: malloc's, a
// thread_local, a std:: container, a foreign thread. A Global does the same for a static.
//
//   gc::Root<Node> keep = gc::make<Node>();             // also in a std::vector, a std::function
//   constinit gc::Global<Node> g_head;                  // no initialiser runs
//   std::vector<gc::Root<Node>> all;
//
// Threads:   a Root is made and destroyed on any thread, with or without a P. One Root or Global is
//            not for two threads at once. Using what it points to is for goroutines.
// Cycles:    a Root in a collected object keeps that object for ever if it can be reached from what
//            it holds; the probe refuses it in builds without NDEBUG.
// Cost:      a Root takes a slot of 8 bytes in a table, under a spin lock.
#ifndef PLIMSOLL_RUNTIME_GC_ROOT_H_
#define PLIMSOLL_RUNTIME_GC_ROOT_H_

#include <atomic>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "plimsoll/runtime/gc/barrier.h"
#include "plimsoll/runtime/gc/probe.h"
#include "plimsoll/runtime/gc/ptr.h"

namespace plimsoll::gc {
namespace internal {

// A slot of the table: the address that it keeps, or, with bit 63 set, the next free slot.
using RootSlot = std::atomic<uintptr_t>;

// Never null: without memory the process ends.
RootSlot* NewRootSlot(const void* p);
void DeleteRootSlot(RootSlot* slot);

struct GlobalNode {
  std::atomic<uintptr_t> value{0};
  std::atomic<bool> known{false};
  GlobalNode* next = nullptr;
};
// Puts it into the list of all globals, once.
void RegisterGlobal(GlobalNode* node);

}  // namespace internal

template <typename T>
class Root {
 public:
  Root() : Root(nullptr) {}
  Root(T* p) : slot_(internal::NewRootSlot(p)) {  // NOLINT: as a pointer is
    if constexpr (internal::kProbe) {
      internal::ProbeTarget(p);
      internal::ProbeRoot(this);
    }
  }
  Root(const Ptr<T>& p) : Root(p.get()) {}  // NOLINT: as a pointer is
  Root(const Root& o) : Root(o.get()) {}
  Root(Root&& o) noexcept : slot_(std::exchange(o.slot_, nullptr)) {}
  // NOLINTNEXTLINE(bugprone-unhandled-self-assignment): one word, read before it is written
  Root& operator=(const Root& o) {
    Set(o.get());
    return *this;
  }
  Root& operator=(Root&& o) noexcept {
    std::swap(slot_, o.slot_);
    return *this;
  }
  Root& operator=(T* p) {
    Set(p);
    return *this;
  }
  ~Root() {
    if (slot_ != nullptr) internal::DeleteRootSlot(slot_);
  }

  // Null after it was moved from.
  T* get() const {
    return slot_ == nullptr ? nullptr
                            : reinterpret_cast<T*>(slot_->load(std::memory_order_relaxed));
  }
  T* operator->() const { return get(); }
  std::add_lvalue_reference_t<T> operator*() const { return *get(); }
  operator T*() const { return get(); }

 private:
  void Set(T* p) {
    if constexpr (internal::kProbe) internal::ProbeTarget(p);
    if (slot_ == nullptr) {
      slot_ = internal::NewRootSlot(p);
    } else {
      slot_->store(reinterpret_cast<uintptr_t>(p), std::memory_order_relaxed);
      internal::Kept(reinterpret_cast<uintptr_t>(p));
    }
  }

  internal::RootSlot* slot_;
};

template <typename T>
class Global {
 public:
  constexpr Global() = default;
  Global(const Global&) = delete;
  Global& operator=(const Global&) = delete;
  Global& operator=(T* p) {
    if constexpr (internal::kProbe) internal::ProbeTarget(p);
    if (p != nullptr && !node_.known.load(std::memory_order_relaxed)) {
      internal::RegisterGlobal(&node_);
    }
    node_.value.store(reinterpret_cast<uintptr_t>(p), std::memory_order_relaxed);
    internal::Kept(reinterpret_cast<uintptr_t>(p));
    return *this;
  }

  T* get() const { return reinterpret_cast<T*>(node_.value.load(std::memory_order_relaxed)); }
  T* operator->() const { return get(); }
  std::add_lvalue_reference_t<T> operator*() const { return *get(); }
  operator T*() const { return get(); }

 private:
  internal::GlobalNode node_;
};

}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_ROOT_H_
