/* Entry of a PVH kernel: 32 bits, no paging, ebx has the start information. Goes to 64 bits with the first 4 GiB mapped as they are. */

    .section .note.GNU-stack, "", @progbits

    .section .note.pvh, "a", @note
    .align 4
    .long 4, 4, 18              /* name, description, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long start32

    .section .text.start, "ax"
    .code32
    .globl start32
start32:
    cli
    movl $stack_top, %esp
    movl %ebx, %ebp

    /* 2048 pages of 2 MiB. */
    xorl %ecx, %ecx
1:  movl %ecx, %eax
    shll $21, %eax
    orl $0x83, %eax
    movl %eax, low_pages(,%ecx,8)
    movl $0, low_pages+4(,%ecx,8)
    incl %ecx
    cmpl $2048, %ecx
    jne 1b

    xorl %ecx, %ecx
2:  movl %ecx, %eax
    shll $12, %eax
    addl $low_pages + 3, %eax
    movl %eax, level3(,%ecx,8)
    incl %ecx
    cmpl $4, %ecx
    jne 2b
    movl $level3 + 3, level4

    movl $level4, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax             /* PAE */
    movl %eax, %cr4
    movl $0xc0000080, %ecx      /* EFER.LME */
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax       /* PG, PE */
    movl %eax, %cr0
    lgdt table_pointer
    ljmp $8, $start64

    .code64
start64:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %ebp, %edi
    call run
3:  hlt
    jmp 3b

    .section .data
    .align 8
table:
    .quad 0
    .quad 0x00af9a000000ffff    /* code, 64 bits */
    .quad 0x00cf92000000ffff    /* data */
table_pointer:
    .word . - table - 1
    .long table

    .section .bss
    .globl level4
    .align 4096
level4: .skip 4096
level3: .skip 4096
low_pages: .skip 4 * 4096
    .align 16
    .skip 16384
stack_top:
