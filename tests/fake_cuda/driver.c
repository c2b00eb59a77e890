/* A stand-in for the CUDA driver (libcuda): contexts, and memory that is mapped page by page (expandable segments). */
#define _GNU_SOURCE
#include <cuda.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "device.h"

#define API __attribute__((visibility("default")))
#define DONE return CUDA_SUCCESS

API CUresult cuInit(unsigned flags) { (void)flags; DONE; }
API CUresult cuDriverGetVersion(int *version) { *version = CUDA_VERSION; DONE; }
API CUresult cuDeviceGetCount(int *count) { *count = 1; DONE; }
API CUresult cuDeviceGet(CUdevice *device, int ordinal) { *device = ordinal; return ordinal ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS; }
API CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
    (void)device;
    memcpy(uuid->bytes, "\x5a\x5a\x5a\x5a\x00\x00\x11\x11\x22\x22\x33\x33\x33\x33\x33\x33", 16);
    DONE;
}
API CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute what, CUdevice device) {
    (void)device;
    *value = what == CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED;
    DONE;
}
API CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
    (void)device;
    *flags = 0, *active = 1;
    DONE;
}
API CUresult cuCtxGetCurrent(CUcontext *context) { static int one; *context = (CUcontext)&one; DONE; }
API CUresult cuCtxSetCurrent(CUcontext context) { (void)context; DONE; }
API CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = error == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : error ? "an error of the stand-in" : "no error";
    DONE;
}

/* ---- memory that is mapped: a handle is a piece of the device, counted once ---- */

typedef struct { size_t size; int uses; } Piece;
typedef struct Mapping { struct Mapping *next; char *at; size_t size; Piece *piece; } Mapping;
static Mapping *mappings;

static void let_go(Piece *piece) {
    if (--piece->uses) return;
    give(piece->size);
    free(piece);
}

API CUresult cuMemGetAllocationGranularity(size_t *out, const CUmemAllocationProp *of, CUmemAllocationGranularity_flags flags) {
    (void)of, (void)flags;
    *out = GRAIN;
    DONE;
}
API CUresult cuMemAddressReserve(CUdeviceptr *out, size_t size, size_t alignment, CUdeviceptr at, unsigned long long flags) {
    (void)alignment, (void)at, (void)flags;
    *out = (CUdeviceptr)place(size, RESERVED);
    return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
API CUresult cuMemAddressFree(CUdeviceptr at, size_t size) {
    (void)size;
    return unplace((void *)at) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
API CUresult cuMemCreate(CUmemGenericAllocationHandle *out, size_t size, const CUmemAllocationProp *of, unsigned long long flags) {
    (void)of, (void)flags;
    if (size % GRAIN) return CUDA_ERROR_INVALID_VALUE;
    if (!take(size)) return CUDA_ERROR_OUT_OF_MEMORY;
    Piece *piece = malloc(sizeof *piece);
    *piece = (Piece){size, 1};
    *out = (CUmemGenericAllocationHandle)piece;
    DONE;
}
API CUresult cuMemRelease(CUmemGenericAllocationHandle handle) { let_go((Piece *)handle); DONE; }
API CUresult cuMemMap(CUdeviceptr at, size_t size, size_t offset, CUmemGenericAllocationHandle handle, unsigned long long flags) {
    (void)offset, (void)flags;
    Mapping *one = malloc(sizeof *one);
    *one = (Mapping){mappings, (char *)at, size, (Piece *)handle};
    one->piece->uses++;
    mappings = one;
    DONE;
}
API CUresult cuMemUnmap(CUdeviceptr at, size_t size) {
    char *begin = (char *)at;
    for (Mapping **where = &mappings; *where;) {
        Mapping *one = *where;
        if (one->at < begin || one->at + one->size > begin + size) { where = &one->next; continue; }
        *where = one->next;
        madvise(one->at, one->size, MADV_DONTNEED);
        let_go(one->piece);
        free(one);
    }
    DONE;
}
API CUresult cuMemSetAccess(CUdeviceptr at, size_t size, const CUmemAccessDesc *who, size_t count) {
    (void)at, (void)size, (void)who, (void)count;
    DONE;
}
