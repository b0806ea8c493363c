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

/* Ports of the machine, its serial line, its PCI bus. */

#ifndef IO_H
#define IO_H

#include <stdint.h>

#define PORT_COM1 0x3f8

/* Where a hot-plugged device is given its memory: nothing else is there. */
#define WINDOW_BASE 0xe0000000u
#define WINDOW_SIZE 0x00100000u

#define PCI_COMMAND 0x04
#define PCI_COMMAND_MEMORY_MASTER 0x06
#define PCI_BAR0 0x10
#define PCI_BARS 6

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "d"(port));
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "d"(port));
    return value;
}

static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "d"(port));
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "d"(port));
    return value;
}

/* --- saying ------------------------------------------------------------ */

static void say_char(char character)
{
    while (!(in8(PORT_COM1 + 5) & 0x20))
        ;
    out8(PORT_COM1, character);
}

static void say(const char *words)
{
    while (*words)
        say_char(*words++);
}

static void say_hex(uint32_t value, int digits)
{
    while (digits--)
        say_char("0123456789abcdef"[value >> (4 * digits) & 15]);
}

static void say_slot(const char *word, int slot)
{
    say(word);
    say_char(' ');
    say_hex(slot, 2);
}

/* --- PCI --------------------------------------------------------------- */

static void select_register(int slot, int reg)
{
    out32(0xcf8, 0x80000000u | slot << 11 | reg);
}

static uint32_t read_pci(int slot, int reg)
{
    select_register(slot, reg);
    return in32(0xcfc);
}

static void write_pci(int slot, int reg, uint32_t value)
{
    select_register(slot, reg);
    out32(0xcfc, value);
}

/* Give a device memory where the firmware has given it none, and let it use
 * the bus. Returns where its first registers are. */
static volatile uint32_t *enable(int slot)
{
    uint32_t next = WINDOW_BASE + slot * WINDOW_SIZE;

    for (int bar = 0; bar < PCI_BARS; bar++) {
        int reg = PCI_BAR0 + 4 * bar;
        uint32_t was = read_pci(slot, reg), size;

        write_pci(slot, reg, 0xffffffff);
        size = read_pci(slot, reg);
        write_pci(slot, reg, was);
        /* None, or ports. */
        if (!size || size & 1)
            continue;
        size = ~(size & ~15u) + 1;
        if (!(was & ~15u)) {
            next = (next + size - 1) & ~(size - 1);
            write_pci(slot, reg, next);
            next += size;
        }
        /* The upper half of 64 bits. */
        if (was & 4)
            write_pci(slot, PCI_BAR0 + 4 * ++bar, 0);
    }
    write_pci(slot, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
    return (volatile uint32_t *)(read_pci(slot, PCI_BAR0) & ~15u);
}

#endif
