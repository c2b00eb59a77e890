/* The device that does not exist: its size, its memory, the bytes that are taken of it. Included by each source. */
#ifndef FAKE_CUDA_DEVICE_H
#define FAKE_CUDA_DEVICE_H

#include <stddef.h>

#define MIB ((size_t)1 << 20)
#define GRAIN (2 * MIB) /* of physical memory, and of addresses */

typedef struct Range {
    struct Range *next;
    char *at;
    size_t size;
    enum { DEVICE = 1, PINNED, RESERVED } kind;
} Range;

size_t device_total(void);
size_t device_free(void);
int capability(void); /* 90 is 9.0 */
void begin_context(void);

/* Take or give back bytes of the device. Whether there were so many. */
int take(size_t bytes);
void give(size_t bytes);

/* Addresses for device memory, the lowest that are free, as large as asked for. Nothing is taken of the device. */
char *place(size_t size, int kind);
Range *range_of(const void *pointer);
void note_range(void *at, size_t size, int kind);
size_t unplace(void *at); /* its size, 0 where nothing lies there */

int traced(void);
void trace(const char *function);

#endif
