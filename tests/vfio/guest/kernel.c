/*
 *    Licensed under the Apache License, Version 2.0 (the "License"); you may
 *    not use this file except in compliance with the License. You may obtain
 *    a copy of the License at
 *
 *    http://www.apache.org/licenses/LICENSE-2.0
 *
 *    Unless required by applicable law or agreed to in writing, software
 *    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 *    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 *    License for the specific language governing permissions and limitations
 *    under the License.
 */

/*
 * A guest that is small enough to be emulated by an emulated machine: a
 * multiboot kernel which uses the devices that are passed through to it.
 *
 * It looks at the slots of its only PCI bus a few times a second. A device
 * that it finds there it proves: the NVMe by a command that is answered
 * through DMA, the SR-IOV port by a message to the driver of its physical
 * function. When the host asks for a slot it ejects it, as ACPI's methods do,
 * but for the one that "keep=" on its command line names.
 *
 * What it says on its serial port, a line each; SS is a slot, in hex:
 *
 *     UP ID               booted; ID is another one in each boot
 *     GOES ID N           once a second; N is counted in memory
 *     NVME SS SERIAL      proved, this is its serial number
 *     PORT SS MAC         proved, this is its address
 *     BROKEN SS WHY       there, but it does not work
 *     EJECT SS            given back at the host's request
 *     KEEP SS             asked for, and kept
 */

#include "io.h"

#define SLOTS 32
#define HZ 20
#define NO_SLOT 0xff

/* Intel 8253/8254: channel 0, mode 3, 1193182 Hz. */
#define PIT_DIVISOR (1193182 / HZ)

/* QEMU docs/specs/acpi_pci_hotplug: the registers of the i440FX. */
#define HOTPLUG_DOWN 0xae04
#define HOTPLUG_EJECT 0xae08
#define HOTPLUG_BUS 0xae10

/* Of five seconds at most. */
#define MAILBOX_TRIES 4

#define ID_NVME 0x00101b36u
#define ID_82576_VF 0x10ca8086u

/* The entry, and the two interrupt handlers: IRQ 0 counts, others are
 * acknowledged. */
__asm__(
    ".section .boot, \"ax\"\n"
    ".align 4\n"
    ".long 0x1badb002, 0, -0x1badb002\n"
    ".global _start\n"
    "_start: cli\n"
    "    mov $stack_end, %esp\n"
    "    push %ebx\n"
    "    call run\n"
    ".global on_tick\n"
    "on_tick: push %eax\n"
    "    incl ticks\n"
    "    mov $0x20, %al\n"
    "    out %al, $0x20\n"
    "    pop %eax\n"
    "    iret\n"
    ".global on_other\n"
    "on_other: push %eax\n"
    "    mov $0x20, %al\n"
    "    out %al, $0xa0\n"
    "    out %al, $0x20\n"
    "    pop %eax\n"
    "    iret\n"
    ".text\n");

extern char on_tick[], on_other[];

volatile uint32_t ticks;
uint8_t stack[16384] __attribute__((aligned(16)));
__asm__(".global stack_end\n .set stack_end, stack + 16384\n");

/* --- time -------------------------------------------------------------- */

static void sleep_ticks(uint32_t number)
{
    uint32_t began = ticks;

    while (ticks - began < number)
        __asm__ volatile("sti\n hlt");
}

/* Wait until bits of a register have a value, for at most five seconds. */
static int comes(volatile uint32_t *reg, uint32_t mask, uint32_t value)
{
    for (int i = 0; i < 5 * HZ; i++) {
        if ((*reg & mask) == value)
            return 1;
        sleep_ticks(1);
    }
    return 0;
}

static void start_clock(void)
{
    static uint64_t gdt[] = {
        0, 0x00cf9a000000ffffULL, 0x00cf92000000ffffULL,
    };
    static uint64_t idt[48];
    struct __attribute__((packed)) {
        uint16_t limit;
        void *base;
    } gdt_at = { sizeof gdt - 1, gdt }, idt_at = { sizeof idt - 1, idt };

    for (int i = 0; i < 48; i++) {
        uint32_t handler = (uint32_t)(i == 32 ? on_tick : on_other);

        idt[i] = (uint64_t)(handler & 0xffff0000u) << 32 |
            0x00008e0000080000ULL | (handler & 0xffff);
    }
    __asm__ volatile(
        "lgdt %0\n lidt %1\n ljmp $8, $1f\n"
        "1: mov $16, %%eax\n mov %%eax, %%ds\n mov %%eax, %%es\n"
        "mov %%eax, %%ss"
        : : "m"(gdt_at), "m"(idt_at) : "eax", "memory");
    /* Both 8259A: IRQ 0 is interrupt 32, and the only one let through. */
    out8(0x20, 0x11), out8(0xa0, 0x11);
    out8(0x21, 32), out8(0xa1, 40);
    out8(0x21, 4), out8(0xa1, 2);
    out8(0x21, 1), out8(0xa1, 1);
    out8(0x21, 0xfe), out8(0xa1, 0xff);
    out8(0x43, 0x36);
    out8(0x40, PIT_DIVISOR & 0xff), out8(0x40, PIT_DIVISOR >> 8);
}

/* --- devices ----------------------------------------------------------- */

static void say_broken(int slot, const char *why)
{
    say_slot("BROKEN", slot);
    say(why);
}

/* NVM Express base specification: Identify Controller, by the queues of
 * administration alone. Queues and answer are reached by DMA. */
static void prove_nvme(int slot)
{
    static volatile uint32_t submission[1024] __attribute__((aligned(4096)));
    static volatile uint32_t completion[1024] __attribute__((aligned(4096)));
    static volatile uint32_t answer[1024] __attribute__((aligned(4096)));
    volatile uint32_t *regs = enable(slot);
    volatile uint32_t *configuration = regs + 0x14 / 4;
    volatile uint32_t *status = regs + 0x1c / 4;
    const volatile char *serial = (const volatile char *)answer + 4;

    for (int i = 0; i < 1024; i++)
        submission[i] = completion[i] = answer[i] = 0;
    *configuration = 0;
    if (!comes(status, 1, 0)) {
        say_broken(slot, " does not stop");
        return;
    }
    regs[0x24 / 4] = 1 << 16 | 1;
    regs[0x28 / 4] = (uint32_t)submission, regs[0x2c / 4] = 0;
    regs[0x30 / 4] = (uint32_t)completion, regs[0x34 / 4] = 0;
    *configuration = 4 << 20 | 6 << 16 | 1;
    if (!comes(status, 1, 1)) {
        say_broken(slot, " does not start");
        return;
    }
    submission[0] = 1 << 16 | 6;
    submission[6] = (uint32_t)answer;
    submission[10] = 1;
    regs[0x1000 / 4] = 1;
    if (!comes(completion + 3, 0x10000, 0x10000)) {
        say_broken(slot, " does not answer by DMA");
        return;
    }
    say_slot("NVME", slot);
    say_char(' ');
    for (int i = 0; i < 20 && serial[i] > ' '; i++)
        say_char(serial[i]);
    *configuration = 0;
}

/* Intel 82576 data sheet, "VF mailbox": ask for a reset; the driver of the
 * physical function answers with the address of the port. It also says things
 * by itself, as when the link is up, and its word may be in place of ours:
 * then we ask again. To read the mailbox clears what it said before. */
static void prove_port(int slot)
{
    volatile uint32_t *regs = enable(slot);
    volatile uint32_t *mailbox = regs + 0xc40 / 4;
    volatile uint32_t *message = regs + 0x800 / 4;
    uint32_t mac[2];

    for (int i = 0; i < MAILBOX_TRIES; i++) {
        (void)*mailbox;
        *mailbox = 4;
        message[0] = 1;
        *mailbox = 1;
        if (!comes(mailbox, 0x10, 0x10) ||
            (message[0] & 0x8000ffff) != 0x80000001)
            continue;
        mac[0] = message[1], mac[1] = message[2];
        *mailbox = 2;
        say_slot("PORT", slot);
        for (int byte = 0; byte < 6; byte++) {
            say_char(byte ? ':' : ' ');
            say_hex(((uint8_t *)mac)[byte], 2);
        }
        return;
    }
    say_broken(slot, " is not answered by its physical function");
}

static void look_at_slots(void)
{
    static uint32_t seen[SLOTS];

    for (int slot = 0; slot < SLOTS; slot++) {
        uint32_t id = read_pci(slot, 0);

        if (id == seen[slot])
            continue;
        seen[slot] = id;
        if (id == ID_NVME)
            prove_nvme(slot);
        else if (id == ID_82576_VF)
            prove_port(slot);
        else
            continue;
        say("\n");
    }
}

static void answer_requests(int kept)
{
    static uint32_t refused;
    uint32_t asked;

    out32(HOTPLUG_BUS, 0);
    asked = in32(HOTPLUG_DOWN);
    for (int slot = 0; slot < SLOTS; slot++) {
        uint32_t bit = 1u << slot;

        if (!(asked & bit) || refused & bit)
            continue;
        if (slot == kept) {
            refused |= bit;
            say_slot("KEEP", slot);
        } else {
            out32(HOTPLUG_EJECT, bit);
            say_slot("EJECT", slot);
        }
        say("\n");
    }
}

/* --- life -------------------------------------------------------------- */

/* The slot after "keep=", one hex digit. */
static int find_kept(const uint32_t *multiboot)
{
    const char *word = "keep=", *at;

    if (!(multiboot[0] & 4))
        return NO_SLOT;
    for (at = (const char *)multiboot[4]; *at && *word; at++)
        word = *at == *word ? word + 1 : "keep=";
    if (*word || !*at)
        return NO_SLOT;
    return *at <= '9' ? *at - '0' : *at - 'a' + 10;
}

void run(const uint32_t *multiboot)
{
    int kept = find_kept(multiboot);
    uint32_t id, count = 0;

    __asm__ volatile("rdtsc" : "=a"(id) : : "edx");
    start_clock();
    say("UP ");
    say_hex(id, 8);
    say("\n");
    for (;;) {
        answer_requests(kept);
        look_at_slots();
        sleep_ticks(HZ / 4);
        if (++count % 4)
            continue;
        say("GOES ");
        say_hex(id, 8);
        say_char(' ');
        say_hex(count / 4, 8);
        say("\n");
    }
}
