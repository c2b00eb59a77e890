#define _GNU_SOURCE
#include "device.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "ledger.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static Range *ranges; /* by address */
static char *arena;
static size_t arena_size;
static pid_t begun_in;
static LedgerSlot *mine;

static size_t megabytes(const char *name, size_t otherwise) {
    const char *value = getenv(name);
    return (value ? (size_t)strtoull(value, NULL, 10) : otherwise) * MIB;
}

size_t device_total(void) { return megabytes("FAKE_CUDA_MEMORY_MIB", 8192); }

int capability(void) {
    const char *value = getenv("FAKE_CUDA_CAPABILITY");
    int major = 9, minor = 0;
    if (value) sscanf(value, "%d.%d", &major, &minor);
    return major * 10 + minor;
}

/* A lock that other processes heed; the mutex is held. */
static void all_wait(int operation) {
    if (ledger_fd >= 0) flock(ledger_fd, operation);
}

/* This process's line of the ledger: its own since a fork, too. */
static LedgerSlot *own_slot(void) {
    if (mine && begun_in == getpid()) return mine;
    LedgerSlot *all = ledger_open();
    begun_in = getpid();
    if (ledger_fd >= 0) { /* a fork shares the lock of an open file */
        close(ledger_fd);
        ledger_fd = open(getenv("FAKE_CUDA_LEDGER"), O_RDWR | O_CLOEXEC);
    }
    mine = NULL;
    all_wait(LOCK_EX);
    for (int i = 0; i < LEDGER_SLOTS; i++)
        if (!ledger_lives(&all[i]) || all[i].pid == begun_in) {
            mine = &all[i];
            break;
        }
    if (!mine) abort();
    mine->bytes = (int64_t)megabytes("FAKE_CUDA_CONTEXT_MIB", 300);
    mine->pid = begun_in;
    all_wait(LOCK_UN);
    return mine;
}

static size_t used(void) {
    LedgerSlot *all = ledger_open();
    size_t sum = 0;
    for (int i = 0; i < LEDGER_SLOTS; i++)
        if (ledger_lives(&all[i])) sum += (size_t)all[i].bytes;
    return sum;
}

void begin_context(void) {
    pthread_mutex_lock(&mutex);
    own_slot();
    pthread_mutex_unlock(&mutex);
}

size_t device_free(void) {
    pthread_mutex_lock(&mutex);
    own_slot();
    size_t total = device_total(), taken = used();
    pthread_mutex_unlock(&mutex);
    return taken < total ? total - taken : 0;
}

int take(size_t bytes) {
    pthread_mutex_lock(&mutex);
    LedgerSlot *slot = own_slot();
    all_wait(LOCK_EX);
    int fits = used() + bytes <= device_total();
    if (fits) slot->bytes += (int64_t)bytes;
    all_wait(LOCK_UN);
    pthread_mutex_unlock(&mutex);
    return fits;
}

void give(size_t bytes) {
    pthread_mutex_lock(&mutex);
    own_slot()->bytes -= (int64_t)bytes;
    pthread_mutex_unlock(&mutex);
}

/* ---- addresses ---- */

static void open_arena(void) {
    for (arena_size = (size_t)4 << 40; !arena && arena_size > GRAIN; arena_size /= 2) {
        void *at = mmap(NULL, arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) continue;
        arena = (char *)(((size_t)at + GRAIN - 1) / GRAIN * GRAIN);
        arena_size -= GRAIN;
        break;
    }
    madvise(arena, arena_size, MADV_DONTDUMP);
    madvise(arena, arena_size, MADV_NOHUGEPAGE);
}

static Range **insert(Range **where, char *at, size_t size, int kind) {
    Range *range = malloc(sizeof *range);
    *range = (Range){*where, at, size, kind};
    *where = range;
    return where;
}

char *place(size_t size, int kind) {
    pthread_mutex_lock(&mutex);
    if (!arena) open_arena();
    size = (size + GRAIN - 1) / GRAIN * GRAIN;
    char *at = arena;
    Range **where = &ranges;
    for (; *where; where = &(*where)->next) {
        Range *one = *where;
        if (one->at < arena || one->at >= arena + arena_size) continue;
        if (at + size <= one->at && kind != RESERVED) break; /* reserved ranges lie behind all that is there */
        at = one->at + (one->size + GRAIN - 1) / GRAIN * GRAIN;
    }
    if (at + size <= arena + arena_size) insert(where, at, size, kind);
    else at = NULL;
    pthread_mutex_unlock(&mutex);
    return at;
}

void note_range(void *at, size_t size, int kind) {
    pthread_mutex_lock(&mutex);
    Range **where = &ranges;
    while (*where && (*where)->at < (char *)at) where = &(*where)->next;
    insert(where, at, size, kind);
    pthread_mutex_unlock(&mutex);
}

Range *range_of(const void *pointer) {
    const char *at = pointer;
    pthread_mutex_lock(&mutex);
    Range *one = ranges;
    while (one && !(at >= one->at && at < one->at + one->size)) one = one->next;
    pthread_mutex_unlock(&mutex);
    return one;
}

size_t unplace(void *at) {
    size_t size = 0;
    pthread_mutex_lock(&mutex);
    for (Range **where = &ranges; *where; where = &(*where)->next)
        if ((*where)->at == at) {
            Range *gone = *where;
            size = gone->size;
            *where = gone->next;
            if (gone->kind != PINNED) madvise(gone->at, size, MADV_DONTNEED);
            free(gone);
            break;
        }
    pthread_mutex_unlock(&mutex);
    return size;
}

/* ---- what was called ---- */

int traced(void) {
    static int on = -1;
    if (on < 0) on = getenv("FAKE_CUDA_TRACE") != NULL;
    return on;
}

void trace(const char *function) {
    if (traced()) fprintf(stderr, "fake cuda: %s\n", function);
}
