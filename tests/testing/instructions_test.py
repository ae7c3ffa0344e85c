"""A count is only as good as its reading of an instruction."""

import unittest

import instructions


class InstructionsTest(unittest.TestCase):
    """One case a question."""

    def test_tells_what_reads_memory(self):
        for text, reads in (("mov 0x8(%rax),%rdx", True), ("mov %rdx,0x8(%rax)", False),
                            ("movb $0x0,(%rdx)", False), ("subl $0x1,0x40(%rax)", True),
                            ("cmpb $0x0,0x48(%rax,%rdx,1)", True), ("lea 0x48(%rax,%rdx,1),%rdx", False),
                            ("mov %fs:0x0,%rax", True), ("mov %fs:(%rax),%rcx", True), ("ret", False),
                            ("add 0x8(%rcx),%rax", True), ("test %rdx,%rdx", False),
                            ("movzbl (%rcx,%rax,1),%eax", True), ("lock xadd %eax,(%rdx)", True),
                            ("prefetchw (%rax)", False), ("push %rbx", False)):
            with self.subTest(text):
                self.assertEqual(instructions.loads(text), reads)

    def test_tells_what_is_locked(self):
        for text, locks in (("lock xadd %eax,(%rdx)", True), ("xchg %rax,(%rdx)", True),
                            ("xchg %ax,%ax", False), ("mov %rax,(%rdx)", False)):
            with self.subTest(text):
                self.assertEqual(instructions.locked(text), locks)


if __name__ == "__main__":
    unittest.main()
