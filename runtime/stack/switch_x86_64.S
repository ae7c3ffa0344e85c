// See switch.h. System V ABI: rbx, rbp and r12 to r15 belong to the callee.
#if defined(__x86_64__)
        .text
        .globl  plimsoll_switch
        .type   plimsoll_switch, @function
        .p2align 4
plimsoll_switch:                        // rdi: where to store our stack pointer; rsi: the other's
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        // The other stack has the same shape, so the same unwind rows hold for it.
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        popq    %rdx
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rdx
        jmp     *%rdx                   // by (2)
        .cfi_endproc
        .size   plimsoll_switch, .-plimsoll_switch

        .globl  plimsoll_goroutine_start
        .type   plimsoll_goroutine_start, @function
        .p2align 4
plimsoll_goroutine_start:
        .cfi_startproc
        .cfi_undefined %rip
        xorl    %ebp, %ebp
        call    plimsoll_goroutine_main
        ud2
        .cfi_endproc
        .size   plimsoll_goroutine_start, .-plimsoll_goroutine_start

        .weak   plimsoll_system_main
        .globl  plimsoll_system_start
        .type   plimsoll_system_start, @function
        .p2align 4
plimsoll_system_start:
        .cfi_startproc
        .cfi_undefined %rip
        xorl    %ebp, %ebp
        call    plimsoll_system_main
        ud2
        .cfi_endproc
        .size   plimsoll_system_start, .-plimsoll_system_start
#endif
        .section .note.GNU-stack, "", %progbits
