#include "plimsoll/runtime/symbolize/demangle.h"

#include <cstring>
#include <string>

#include "gtest/gtest.h"

namespace plimsoll::symbolize {
namespace {

std::string Demangled(std::string_view mangled, size_t room = 512) {
  std::string buffer(room, '?');
  return std::string(Demangle(mangled, buffer));
}

TEST(DemangleTest, WritesWhatAReaderWouldWrite) {
  const struct {
    const char* mangled;
    const char* text;
  } kCases[] = {
      {"_Z3foov", "foo"},
      {"_ZN8plimsoll5sched4ParkENS0_10WaitReasonEPFbPNS0_1GEPvES4_", "plimsoll::sched::Park"},
      {"_ZN8plimsoll5MutexC2Ev", "plimsoll::Mutex::Mutex"},
      {"_ZN8plimsoll5MutexD1Ev", "plimsoll::Mutex::~Mutex"},
      {"_ZNK8plimsoll7ChannelIiE4RecvEv", "plimsoll::Channel<int>::Recv"},
      {"_ZNK8plimsoll7ChannelISt6vectorISsSaISsEEE4SendES4_",
       "plimsoll::Channel<std::vector<std::string, std::allocator<...>>>::Send"},
      {"_ZN12_GLOBAL__N_13runEi", "(anonymous namespace)::run"},
      {"_ZZ4mainENKUlvE_clEv", "main::{lambda#1}::operator()"},
      {"_ZZ4mainENKUlvE1_clEv", "main::{lambda#3}::operator()"},
      {"_ZZN1A1bEiENKUlT_E_clIiEEDaS0_", "A::b::{lambda#1}::operator()<int>"},
      {"_ZN1AcviEv", "A::operator int"},
      {"_ZN1AplERKS_", "A::operator+"},
      {"_ZN1AnwEm", "A::operator new"},
      {"_ZlsRSoRK1A", "operator<<"},
      {"_ZTV1A", "vtable for A"},
      {"_ZGVZ1fvE1x", "guard variable for f::x"},
      {"_ZThn16_N1A1bEv", "non-virtual thunk to A::b"},
      {"_Z3fooILi3EEvv", "foo<3>"},
      {"_Z3fooILin7ELb1EEvv", "foo<-7, true>"},
      {"_Z3fooIJidPKcEEvDpT_", "foo<int, double, char const*>"},
      {"_Z3fooIJEEvDpT_", "foo<>"},
      {"_Z3fooIPFivEEvT_", "foo<int (*)()>"},
      {"_Z3fooIA3_iEvT_", "foo<int [3]>"},
      {"_Z3fooIXadL_Z3barvEEEvv", "foo<&bar>"},
      {"_ZN3fooB5cxx11Ev", "foo"},
      {"_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int, std::allocator<int>>::push_back"},
      {"_Z3barv.part.0", "bar.part.0"},
      {"_Z3barv.cold", "bar.cold"},
      {"_ZL3barv", "bar"},
      {"_ZNSt17_Function_handlerIFvvEZ4mainEUlvE_E9_M_invokeERKSt9_Any_data",
       "std::_Function_handler<void (), main::{lambda#1}>::_M_invoke"},
  };
  for (const auto& c : kCases) EXPECT_EQ(Demangled(c.mangled), c.text) << c.mangled;
}

TEST(DemangleTest, ReturnsWhatItDoesNotKnowAsItIs) {
  for (const char* name : {"main", "plimsoll_switch", "", "_Z", "_ZN", "_ZN3fo", "_Zzz", "_Z9foov",
                           "_ZN1AIXE1BEv", "_ZS_", "_ZN1aS_E", "_Z99999999999999999999x", "_ZNE"}) {
    EXPECT_EQ(Demangled(name), name);
  }
}

TEST(DemangleTest, EndsATextThatDoesNotFitInDots) {
  EXPECT_EQ(Demangled("_ZN8plimsoll5sched4ParkEv", 12), "plimsoll:...");
  EXPECT_EQ(Demangled("_ZN8plimsoll5sched4ParkEv", 21), "plimsoll::sched::Park");
}

TEST(DemangleTest, EndsOnNestingWithoutEndAndOnDoublingNames) {
  std::string deep = "_Z1f";
  for (int i = 0; i < 10000; ++i) deep += "P";
  EXPECT_EQ(Demangled(deep + "i"), "f") << "parameters are not read";
  std::string nested = "_ZN1a";
  for (int i = 0; i < 3000; ++i) nested += "I1b";
  EXPECT_EQ(Demangled(nested), nested);
  // Each substitution is twice the one before it: the text would have 2^40 bytes.
  std::string doubling = "_Z1fI1aI1bS0_E";
  for (int i = 1; i < 30; ++i) {
    const char digit = static_cast<char>(i < 10 ? '0' + i : 'A' + i - 10);
    doubling += std::string("1cIS") + digit + "_S" + digit + "_E";
  }
  doubling += "Evv";
  EXPECT_LE(Demangled(doubling).size(), 512u);
}

TEST(DemangleTest, SurvivesEveryCutAndEveryChangedByte) {
  const std::string name =
      "_ZNSt17_Function_handlerIFvvEZN8plimsoll7ChannelIPKcE4SendES4_EUlvE_E9_M_invokeERKSt9_Any_"
      "data";
  for (size_t i = 0; i <= name.size(); ++i) (void)Demangled(name.substr(0, i));
  for (size_t i = 2; i < name.size(); ++i) {
    for (const char c :
         {'E', 'I', 'S', '_', '0', '9', 'T', 'X', 'L', 'D', 'N', 'Z', '\x01', '\xff'}) {
      std::string changed = name;
      changed[i] = c;
      (void)Demangled(changed);
    }
  }
}

}  // namespace
}  // namespace plimsoll::symbolize
