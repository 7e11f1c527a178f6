/* A RISC-V under QEMU, with picolibc's start and its console through the debugger (semihosting). */
#include "port.h"
#include <stdio.h>

void port_text(const char *text) {
    fputs(text, stdout);
}

/* A register counts them, of which a 32-bit machine reads halves. */
uint64_t port_ticks(void) {
#if __riscv_xlen == 32
    uint32_t high, low, again;
    do {
        __asm__ volatile("rdinstreth %0" : "=r"(high));
        __asm__ volatile("rdinstret %0" : "=r"(low));
        __asm__ volatile("rdinstreth %0" : "=r"(again));
    } while (high != again);
    return ((uint64_t)high << 32) | low;
#else
    uint64_t found;
    __asm__ volatile("rdinstret %0" : "=r"(found));
    return found;
#endif
}
