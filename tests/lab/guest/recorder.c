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
 * recorder [--gate FILE] DEVICE..., recorder --scan DEVICE...
 *
 * Counts the records on block devices (or files) and, without --scan, goes on
 * writing numbered ones, each durable before it is reported and reported
 * before the next is written. So at every instant
 *
 *     last reported <= last durable <= last reported + 1
 *
 * The devices are a ring: after their last slot the first is written again,
 * and the numbers go on. An image of the devices as they were at one instant
 * holds the newest records up to one, as many as there are slots, each in its
 * slot; in the first lap the slots after the last record hold zeros.
 * tests/lab/records.py knows the same layout.
 *
 * --gate writes a byte to a file before each record. That waits while the
 * file system is frozen: no more than one record is written in a freeze, and
 * images of several devices that were made in it are of one instant.
 *
 * A record is one block of 4096 bytes. Of n devices with s slots each record i
 * is on device i % n, in slot i / n % s (little endian):
 *
 *     0   8 bytes  magic
 *     8   8 bytes  number
 *     16  4 bytes  CRC-32 of the block with this field zero
 *     20  40 bytes boot id, padded with zeros
 *     60           noise that depends on the number
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum {
    BLOCK = 4096,
    BOOT_ID = 40,
    SCAN_BLOCKS = 256,          /* read 1 MiB at a time */
    DEVICES = 8,                /* more than a guest of the lab has */
    PERIOD_NS = 20 * 1000000,   /* 50 records a second at most */
};

/* What a slot without a number holds. */
enum {
    EMPTY = -1,
    DAMAGED = -2,
};

static const char MAGIC[8] = {'N', 'S', 'R', 'E', 'C', 'O', 'R', 'D'};

struct record {
    char magic[8];
    uint64_t number;
    uint32_t crc;
    char boot_id[BOOT_ID];
    uint8_t noise[BLOCK - 8 - 8 - 4 - BOOT_ID];
} __attribute__((packed));

static uint32_t crc_table[256];

static void crc_prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0xedb88320u : value >> 1;
        crc_table[i] = value;
    }
}

static uint32_t crc32_of(const struct record *record)
{
    struct record copy = *record;
    const uint8_t *byte = (const uint8_t *)&copy;
    uint32_t crc = ~0u;

    copy.crc = 0;
    for (int i = 0; i < BLOCK; i++)
        crc = crc_table[(crc ^ byte[i]) & 0xff] ^ crc >> 8;
    return ~crc;
}

static void die(const char *what)
{
    printf("GUEST recorder failed: %s: %s\n", what, strerror(errno));
    fflush(stdout);
    exit(1);
}

/* Print one line and wait until it has left the serial port. */
static void report(const char *line)
{
    if (write(STDOUT_FILENO, line, strlen(line)) < 0)
        exit(1);
    tcdrain(STDOUT_FILENO);
}

/*
 * Read which record each slot of one device holds, into every step-th of the
 * numbers.
 */
static void read_numbers(int fd, uint64_t slots, uint64_t step,
                         int64_t *numbers)
{
    static const struct record empty;
    struct record *block = aligned_alloc(BLOCK, SCAN_BLOCKS * BLOCK);

    for (uint64_t slot = 0; slot < slots; slot++) {
        const struct record *record = &block[slot % SCAN_BLOCKS];

        if (slot % SCAN_BLOCKS == 0 &&
            pread(fd, block, SCAN_BLOCKS * BLOCK, slot * BLOCK) < BLOCK)
            die("read");
        if (!memcmp(record, &empty, BLOCK))
            numbers[slot * step] = EMPTY;
        else if (memcmp(record->magic, MAGIC, sizeof(MAGIC)) ||
                 record->crc != crc32_of(record))
            numbers[slot * step] = DAMAGED;
        else
            numbers[slot * step] = (int64_t)record->number;
    }
    free(block);
}

/*
 * Return the number that follows the last record. The first place of the ring
 * that does not hold the newest record that belongs there is a stray: disks
 * that were copied at several instants look so.
 */
static uint64_t scan(const int *fds, uint64_t count, uint64_t slots,
                     int64_t *stray)
{
    int64_t places = (int64_t)(slots * count), last = -1;
    int64_t *numbers = calloc(slots * count, sizeof(*numbers));

    if (!numbers)
        die("memory");
    for (uint64_t i = 0; i < count; i++)
        read_numbers(fds[i], slots, count, numbers + i);
    for (int64_t place = 0; place < places; place++)
        if (numbers[place] > last)
            last = numbers[place];
    *stray = -1;
    for (int64_t place = 0; place < places && *stray < 0; place++) {
        int64_t wanted = last - (last + places - place) % places;

        if (numbers[place] != (wanted < 0 ? EMPTY : wanted))
            *stray = place;
    }
    free(numbers);
    return (uint64_t)(last + 1);
}

static void fill(struct record *record, uint64_t number, const char *boot_id)
{
    uint64_t noise = number * 0x9e3779b97f4a7c15u + 1;

    memset(record, 0, BLOCK);
    memcpy(record->magic, MAGIC, sizeof(MAGIC));
    record->number = number;
    memcpy(record->boot_id, boot_id, BOOT_ID);
    for (size_t i = 0; i < sizeof(record->noise); i++) {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        record->noise[i] = (uint8_t)(noise >> 32);
    }
    record->crc = crc32_of(record);
}

static void read_boot_id(char *boot_id)
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");

    memset(boot_id, 0, BOOT_ID);
    if (!file || fscanf(file, "%39s", boot_id) != 1)
        die("boot id");
    fclose(file);
}

/* Open the devices, and return how many slots the smallest of them has. */
static uint64_t open_all(char **paths, uint64_t count, int *fds)
{
    uint64_t slots = UINT64_MAX;

    for (uint64_t i = 0; i < count; i++) {
        off_t size = -1;

        fds[i] = open(paths[i], O_RDWR | O_DIRECT);
        if (fds[i] >= 0)
            size = lseek(fds[i], 0, SEEK_END);
        if (size < BLOCK)
            die(paths[i]);
        if ((uint64_t)size / BLOCK < slots)
            slots = (uint64_t)size / BLOCK;
    }
    return slots;
}

static void pass(int gate)
{
    if (gate >= 0 && pwrite(gate, "", 1, 0) != 1)
        die("gate");
}

int main(int argc, char **argv)
{
    struct record *record = aligned_alloc(BLOCK, BLOCK);
    struct timespec next;
    char boot_id[BOOT_ID], line[96];
    uint64_t slots, count, number;
    int64_t stray;
    int fds[DEVICES], gate = -1, scan_only = 0;

    if (argc > 1 && !strcmp(argv[1], "--scan")) {
        scan_only = 1;
        argv++, argc--;
    } else if (argc > 2 && !strcmp(argv[1], "--gate")) {
        gate = open(argv[2], O_WRONLY | O_CREAT, 0600);
        if (gate < 0)
            die(argv[2]);
        argv += 2, argc -= 2;
    }
    if (argc < 2 || argc - 1 > DEVICES)
        return 2;
    count = (uint64_t)(argc - 1);
    setvbuf(stdout, NULL, _IOLBF, 0);
    crc_prepare();
    slots = open_all(argv + 1, count, fds);
    read_boot_id(boot_id);
    number = scan(fds, count, slots, &stray);
    snprintf(line, sizeof(line), "GUEST records %llu %s stray %lld\n",
             (unsigned long long)number, stray < 0 ? "ok" : "bad",
             (long long)stray);
    report(line);
    if (scan_only || stray >= 0)
        return stray >= 0;

    for (;; number++) {
        pass(gate);
        clock_gettime(CLOCK_MONOTONIC, &next);
        fill(record, number, boot_id);
        if (pwrite(fds[number % count], record, BLOCK,
                   number / count % slots * BLOCK) != BLOCK ||
            fdatasync(fds[number % count]) < 0)
            die("write");
        snprintf(line, sizeof(line), "REC %llu\n",
                 (unsigned long long)number);
        report(line);
        next.tv_nsec += PERIOD_NS;
        if (next.tv_nsec >= 1000000000) {
            next.tv_nsec -= 1000000000;
            next.tv_sec++;
        }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
}
