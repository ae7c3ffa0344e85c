// See switch.h. AAPCS64: x19 to x29, x30 and the low halves of v8 to v15 belong to the callee.
#if defined(__aarch64__)
        .text
        .globl  plimsoll_switch
        .type   plimsoll_switch, %function
        .p2align 4
plimsoll_switch:                        // x0: where to store our stack pointer; x1: the other's
        .cfi_startproc
        sub     sp, sp, #160
        .cfi_adjust_cfa_offset 160
        stp     x19, x20, [sp, #0]
        stp     x21, x22, [sp, #16]
        stp     x23, x24, [sp, #32]
        stp     x25, x26, [sp, #48]
        stp     x27, x28, [sp, #64]
        stp     x29, x30, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        .cfi_rel_offset x19, 0
        .cfi_rel_offset x20, 8
        .cfi_rel_offset x21, 16
        .cfi_rel_offset x22, 24
        .cfi_rel_offset x23, 32
        .cfi_rel_offset x24, 40
        .cfi_rel_offset x25, 48
        .cfi_rel_offset x26, 56
        .cfi_rel_offset x27, 64
        .cfi_rel_offset x28, 72
        .cfi_rel_offset x29, 80
        .cfi_rel_offset x30, 88
        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        ldp     x19, x20, [sp, #0]
        ldp     x21, x22, [sp, #16]
        ldp     x23, x24, [sp, #32]
        ldp     x25, x26, [sp, #48]
        ldp     x27, x28, [sp, #64]
        ldp     x29, x30, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        add     sp, sp, #160
        .cfi_adjust_cfa_offset -160
        br      x30                     // by (2)
        .cfi_endproc
        .size   plimsoll_switch, .-plimsoll_switch

        .globl  plimsoll_goroutine_start
        .type   plimsoll_goroutine_start, %function
        .p2align 4
plimsoll_goroutine_start:
        .cfi_startproc
        .cfi_undefined x30
        mov     x29, #0
        mov     x30, #0
        bl      plimsoll_goroutine_main
        brk     #1
        .cfi_endproc
        .size   plimsoll_goroutine_start, .-plimsoll_goroutine_start

        .weak   plimsoll_system_main
        .globl  plimsoll_system_start
        .type   plimsoll_system_start, %function
        .p2align 4
plimsoll_system_start:
        .cfi_startproc
        .cfi_undefined x30
        mov     x29, #0
        mov     x30, #0
        bl      plimsoll_system_main
        brk     #1
        .cfi_endproc
        .size   plimsoll_system_start, .-plimsoll_system_start
#endif
        .section .note.GNU-stack, "", %progbits
