/* What every process holds of the one device, in a file that all of them map: the stand-in for the CUDA runtime writes
 * it, the stand-in for NVML reads it, so both tell of the same device. The file is named by FAKE_CUDA_LEDGER. */
#ifndef FAKE_CUDA_LEDGER_H
#define FAKE_CUDA_LEDGER_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LEDGER_SLOTS = 256 };
typedef struct { int64_t pid, bytes; } LedgerSlot; /* bytes: its context and what it has taken */

static LedgerSlot *ledger;
static int ledger_fd = -1;

/* Map the file once. Without one a process counts for itself alone. */
static LedgerSlot *ledger_open(void) {
    static LedgerSlot own[LEDGER_SLOTS];
    const char *path = getenv("FAKE_CUDA_LEDGER");
    if (ledger) return ledger;
    ledger_fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (ledger_fd >= 0 && !ftruncate(ledger_fd, sizeof own)) {
        void *at = mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, ledger_fd, 0);
        if (at != MAP_FAILED) return ledger = at;
    }
    return ledger = own;
}

static int ledger_lives(const LedgerSlot *slot) {
    return slot->pid && (!kill((pid_t)slot->pid, 0) || errno != ESRCH);
}

#endif
