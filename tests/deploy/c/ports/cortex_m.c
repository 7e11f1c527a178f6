/* A Cortex-M under QEMU, without a C library's start: the console and the end are calls of the debugger (semihosting). */
#include "port.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define SYSTICK_CONTROL REGISTER(0xE000E010)
#define SYSTICK_RELOAD REGISTER(0xE000E014)
#define SYSTICK_VALUE REGISTER(0xE000E018)
#define COPROCESSORS REGISTER(0xE000ED88)

#ifndef PORT_PICOSECONDS
#define PORT_PICOSECONDS 0 /* between two ticks; an instruction takes 1,000 where they are counted */
#endif

extern uint32_t port_data_source[], port_data_start[], port_data_end[], port_bss_start[], port_bss_end[], port_stack[];
int main(void);
void port_reset(void);
static void port_fault(void);
static void port_tick(void);
static volatile uint32_t port_rounds;

__attribute__((section(".vectors"), used)) static const uintptr_t port_vectors[16] = {
    (uintptr_t)port_stack, (uintptr_t)port_reset, (uintptr_t)port_fault, (uintptr_t)port_fault,
    (uintptr_t)port_fault, (uintptr_t)port_fault, (uintptr_t)port_fault, (uintptr_t)port_fault,
    0, 0, 0, (uintptr_t)port_fault, 0, 0, (uintptr_t)port_fault, (uintptr_t)port_tick,
};

static uintptr_t port_call(uintptr_t number, const void *argument) {
    register uintptr_t r0 __asm__("r0") = number;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void port_text(const char *text) {
    port_call(0x04, text); /* SYS_WRITE0 */
}

static void port_exit(uintptr_t code) {
    const uintptr_t block[2] = {0x20026, code}; /* ADP_Stopped_ApplicationExit */
    port_call(0x20, block); /* SYS_EXIT_EXTENDED */
    for (;;) {
    }
}

static void port_fault(void) {
    port_text("fault\n");
    port_exit(99);
}

static void port_tick(void) {
    port_rounds++;
}

uint64_t port_ticks(void) {
    uint32_t rounds, value;
    do {
        rounds = port_rounds;
        value = SYSTICK_VALUE;
    } while (rounds != port_rounds);
    return (((uint64_t)rounds << 24) + (0xFFFFFFU - value)) * PORT_PICOSECONDS / 1000U;
}

void port_reset(void) {
    uint32_t *to = port_data_start;
    const uint32_t *from = port_data_source;
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    COPROCESSORS = COPROCESSORS | (15U << 20);
    __asm__ volatile("dsb\n isb" ::: "memory");
#endif
    while (to < port_data_end) {
        *to++ = *from++;
    }
    for (to = port_bss_start; to < port_bss_end; to++) {
        *to = 0;
    }
    SYSTICK_RELOAD = 0xFFFFFF;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7;
    while (SYSTICK_VALUE == 0) { /* until it begins */
    }
    port_exit((uintptr_t)main());
}
