// TakeStandardDescriptors sees to it that descriptors 0 to 2 are taken by something.
//
//   int main() {
//     plimsoll::container::TakeStandardDescriptors();      // before anything is opened
//
// Whoever starts a process may have closed them, and the kernel gives the lowest free number to
// what is opened next: the first socket or pipe would be 2, and every log line would go into it.
// Go's runtime does the same (checkfds).
//
// Taken by:  /dev/null; or, in an image FROM scratch that has no /dev, an empty file in memory that
//            is sealed: it reads as ended, and a write to it fails with EPERM.
// Inherited: by programs that are started, as standard descriptors are.
// Threads:   call it before there are any.
#ifndef PLIMSOLL_CONTAINER_INIT_STANDARD_DESCRIPTORS_H_
#define PLIMSOLL_CONTAINER_INIT_STANDARD_DESCRIPTORS_H_

namespace plimsoll::container {

// `null_device` is for a test of what happens where there is none.
void TakeStandardDescriptors(const char* null_device = "/dev/null");

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_INIT_STANDARD_DESCRIPTORS_H_
