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
 * load DEVICE OFFSET SIZE BLOCK PAUSE
 *
 * Writes one block after the other to random places of an area of a device,
 * without the page cache, and says about twice a second how long that took:
 *
 *     LOAD milliseconds-since-boot writes longest-write-in-microseconds
 *
 * The line of a write that takes long comes when the write is over. OFFSET and
 * SIZE of the area are in MiB, BLOCK in KiB, the PAUSE after each write in
 * microseconds.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    KIB = 1024,
    REPORT_US = 500000,
};

static uint64_t now_us(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void die(const char *what)
{
    printf("GUEST load failed: %s: %s\n", what, strerror(errno));
    fflush(stdout);
    exit(1);
}

static void report(uint64_t now, uint64_t writes, uint64_t longest)
{
    char line[96];
    int length = snprintf(line, sizeof(line), "LOAD %llu %llu %llu\n",
                          (unsigned long long)now / 1000,
                          (unsigned long long)writes,
                          (unsigned long long)longest);

    if (write(STDOUT_FILENO, line, (size_t)length) < 0)
        exit(1);
}

int main(int argc, char **argv)
{
    uint64_t state = 0x9e3779b97f4a7c15u, writes = 0, longest = 0;
    uint64_t offset, blocks, block, pause, reported;
    uint8_t *buffer;
    int fd;

    if (argc != 6)
        return 2;
    offset = strtoull(argv[2], NULL, 10) * KIB * KIB;
    block = strtoull(argv[4], NULL, 10) * KIB;
    pause = strtoull(argv[5], NULL, 10);
    if (!block || block % PAGE)
        return 2;
    blocks = strtoull(argv[3], NULL, 10) * KIB * KIB / block;
    buffer = aligned_alloc(PAGE, block);
    if (!blocks || !buffer)
        return 2;
    fd = open(argv[1], O_WRONLY | O_DIRECT);
    if (fd < 0)
        die(argv[1]);
    for (uint64_t i = 0; i < block; i += sizeof(state))
        memcpy(buffer + i, &(uint64_t){next(&state)}, sizeof(state));

    for (reported = now_us();;) {
        uint64_t place = next(&state) % blocks, began, ended;

        /* No two blocks are equal, and none is zero. */
        memcpy(buffer, &state, sizeof(state));
        began = now_us();
        if (pwrite(fd, buffer, block, (off_t)(offset + place * block)) !=
            (ssize_t)block)
            die("write");
        ended = now_us();
        writes++;
        if (ended - began > longest)
            longest = ended - began;
        if (ended - reported >= REPORT_US) {
            report(ended, writes, longest);
            reported = ended;
            writes = longest = 0;
        }
        usleep((useconds_t)pause);
    }
}
