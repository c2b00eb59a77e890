/* A stand-in for the CUDA runtime (libcudart): memory is the host's, copies are real, kernels do nothing.
 *
 * What torch asks of it is answered as a device would that is always done at once. No number is ever computed on it.
 */
#define _GNU_SOURCE
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "device.h"

#define API __attribute__((visibility("default")))
#define DONE return cudaSuccess
static __thread cudaError_t last_error;
static cudaError_t failed(cudaError_t error) { return last_error = error; }

/* ---- devices ---- */

API cudaError_t cudaGetDeviceCount(int *count) { *count = 1; DONE; }
API cudaError_t cudaGetDevice(int *device) { *device = 0; DONE; }
API cudaError_t cudaSetDevice(int device) {
    if (device) return failed(cudaErrorInvalidDevice);
    begin_context();
    DONE;
}
API cudaError_t cudaDeviceSynchronize(void) { begin_context(); DONE; }
API cudaError_t cudaDriverGetVersion(int *version) { *version = CUDART_VERSION; DONE; }
API cudaError_t cudaRuntimeGetVersion(int *version) { *version = CUDART_VERSION; DONE; }
API cudaError_t cudaDeviceCanAccessPeer(int *can, int one, int other) { (void)one, (void)other; *can = 0; DONE; }
API cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) { *least = 0, *greatest = -5; DONE; }
API cudaError_t cudaDeviceGetPCIBusId(char *id, int length, int device) {
    (void)device;
    snprintf(id, (size_t)length, "0000:1B:00.0");
    DONE;
}

API cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int device) {
    if (device) return failed(cudaErrorInvalidDevice);
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", "Stand-in (no GPU)");
    memcpy(out->uuid.bytes, "\x5a\x5a\x5a\x5a\x00\x00\x11\x11\x22\x22\x33\x33\x33\x33\x33\x33", 16);
    out->totalGlobalMem = device_total();
    out->major = capability() / 10, out->minor = capability() % 10;
    out->multiProcessorCount = 132;
    out->warpSize = 32, out->maxThreadsPerBlock = 1024, out->regsPerBlock = 65536;
    out->maxThreadsDim[0] = out->maxThreadsDim[1] = 1024, out->maxThreadsDim[2] = 64;
    out->maxGridSize[0] = 2147483647, out->maxGridSize[1] = out->maxGridSize[2] = 65535;
    out->sharedMemPerBlock = 49152, out->sharedMemPerBlockOptin = 232448, out->sharedMemPerMultiprocessor = 233472;
    out->maxThreadsPerMultiProcessor = 2048, out->maxBlocksPerMultiProcessor = 32, out->regsPerMultiprocessor = 65536;
    out->totalConstMem = 65536, out->textureAlignment = 512, out->memPitch = 2147483647;
    out->l2CacheSize = 50 << 20, out->memoryBusWidth = 5120;
    out->pciBusID = 0x1B, out->asyncEngineCount = 3, out->concurrentKernels = 1;
    out->unifiedAddressing = 1, out->canMapHostMemory = 1, out->cooperativeLaunch = 1, out->streamPrioritiesSupported = 1;
    DONE;
}

API cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr what, int device) {
    struct cudaDeviceProp is;
    cudaGetDeviceProperties(&is, device);
    switch (what) {
    case cudaDevAttrMaxThreadsPerBlock: *value = is.maxThreadsPerBlock; break;
    case cudaDevAttrMaxBlockDimX: case cudaDevAttrMaxBlockDimY: *value = 1024; break;
    case cudaDevAttrMaxBlockDimZ: *value = 64; break;
    case cudaDevAttrMaxGridDimX: *value = is.maxGridSize[0]; break;
    case cudaDevAttrMaxGridDimY: case cudaDevAttrMaxGridDimZ: *value = 65535; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = (int)is.sharedMemPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)is.sharedMemPerBlockOptin; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = (int)is.sharedMemPerMultiprocessor; break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrMultiProcessorCount: *value = is.multiProcessorCount; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = is.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrMaxRegistersPerBlock: *value = is.regsPerBlock; break;
    case cudaDevAttrComputeCapabilityMajor: *value = is.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = is.minor; break;
    case cudaDevAttrL2CacheSize: *value = is.l2CacheSize; break;
    case cudaDevAttrUnifiedAddressing: case cudaDevAttrCooperativeLaunch: *value = 1; break;
    default: *value = 0;
    }
    DONE;
}

/* ---- memory ---- */

API cudaError_t cudaMalloc(void **out, size_t size) {
    *out = NULL;
    if (!size) DONE;
    size_t physical = (size + GRAIN - 1) / GRAIN * GRAIN;
    if (!take(physical)) return failed(cudaErrorMemoryAllocation);
    if ((*out = place(size, DEVICE))) DONE;
    give(physical);
    return failed(cudaErrorMemoryAllocation);
}

API cudaError_t cudaFree(void *at) {
    begin_context();
    if (!at) DONE;
    size_t size = unplace(at);
    if (!size) return failed(cudaErrorInvalidValue);
    give(size);
    DONE;
}

API cudaError_t cudaMemGetInfo(size_t *left, size_t *total) { *left = device_free(), *total = device_total(); DONE; }

API cudaError_t cudaHostAlloc(void **out, size_t size, unsigned flags) {
    (void)flags;
    *out = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (*out == MAP_FAILED) return failed(cudaErrorMemoryAllocation);
    note_range(*out, size, PINNED);
    DONE;
}
API cudaError_t cudaFreeHost(void *at) {
    size_t size = unplace(at);
    if (!size) return failed(cudaErrorInvalidValue);
    munmap(at, size);
    DONE;
}
API cudaError_t cudaHostRegister(void *at, size_t size, unsigned flags) {
    (void)flags;
    note_range(at, size, PINNED);
    DONE;
}
API cudaError_t cudaHostUnregister(void *at) { return unplace(at) ? cudaSuccess : failed(cudaErrorInvalidValue); }

API cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *out, const void *pointer) {
    Range *range = range_of(pointer);
    memset(out, 0, sizeof *out);
    out->hostPointer = out->devicePointer = (void *)pointer;
    if (!range) { out->type = cudaMemoryTypeUnregistered, out->device = -1; DONE; }
    out->type = range->kind == PINNED ? cudaMemoryTypeHost : cudaMemoryTypeDevice;
    DONE;
}

static cudaError_t copied(void *to, const void *from, size_t size) {
    memmove(to, from, size);
    DONE;
}
API cudaError_t cudaMemcpy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
    (void)kind;
    return copied(to, from, size);
}
API cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind, cudaStream_t stream) {
    (void)kind, (void)stream;
    return copied(to, from, size);
}
API cudaError_t cudaMemcpyPeerAsync(void *to, int there, const void *from, int here, size_t size, cudaStream_t stream) {
    (void)there, (void)here, (void)stream;
    return copied(to, from, size);
}
API cudaError_t cudaMemcpyToSymbol(const void *symbol, const void *from, size_t size, size_t at, enum cudaMemcpyKind kind) {
    (void)symbol, (void)from, (void)size, (void)at, (void)kind;
    DONE;
}
API cudaError_t cudaMemcpy2DAsync(void *to, size_t there, const void *from, size_t here, size_t width, size_t height,
                                  enum cudaMemcpyKind kind, cudaStream_t stream) {
    (void)kind, (void)stream;
    for (size_t row = 0; row < height; row++)
        memmove((char *)to + row * there, (const char *)from + row * here, width);
    DONE;
}

static cudaError_t set(void *to, int value, size_t size) {
    char *begin = to, *end = begin + size;
    char *first = (char *)(((size_t)begin + 4095) / 4096 * 4096), *last = (char *)((size_t)end / 4096 * 4096);
    Range *range = range_of(to);
    if (value || first >= last || !range || range->kind == PINNED) { memset(to, value, size); DONE; }
    memset(begin, 0, (size_t)(first - begin)); /* whole pages of zeros cost no memory */
    madvise(first, (size_t)(last - first), MADV_DONTNEED);
    memset(last, 0, (size_t)(end - last));
    DONE;
}
API cudaError_t cudaMemset(void *to, int value, size_t size) { return set(to, value, size); }
API cudaError_t cudaMemsetAsync(void *to, int value, size_t size, cudaStream_t stream) {
    (void)stream;
    return set(to, value, size);
}

/* ---- streams and events: what was asked for is done already ---- */

typedef struct { int priority; } Stream;
typedef struct { struct timespec at; } Event;

API cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int priority) {
    (void)flags;
    Stream *stream = calloc(1, sizeof *stream);
    stream->priority = priority;
    *out = (cudaStream_t)stream;
    DONE;
}
API cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags) { return cudaStreamCreateWithPriority(out, flags, 0); }
API cudaError_t cudaStreamCreate(cudaStream_t *out) { return cudaStreamCreateWithPriority(out, 0, 0); }
API cudaError_t cudaStreamDestroy(cudaStream_t stream) { free(stream); DONE; }
API cudaError_t cudaStreamGetPriority(cudaStream_t stream, int *priority) {
    *priority = stream && (size_t)stream > 2 ? ((Stream *)stream)->priority : 0;
    DONE;
}
API cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
    (void)stream;
    *status = cudaStreamCaptureStatusNone;
    DONE;
}
API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, enum cudaStreamCaptureStatus *status, unsigned long long *id,
                                         cudaGraph_t *graph, const cudaGraphNode_t **nodes, const cudaGraphEdgeData **edges,
                                         size_t *count) {
    (void)stream, (void)graph, (void)nodes, (void)edges;
    *status = cudaStreamCaptureStatusNone;
    if (id) *id = 0;
    if (count) *count = 0;
    DONE;
}
API cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    (void)stream, (void)mode;
    return failed(cudaErrorNotSupported);
}
API cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode) { (void)mode; DONE; }
API cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t call, void *data, unsigned flags) {
    (void)flags;
    call(stream, cudaSuccess, data);
    DONE;
}
API cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t call, void *data) { (void)stream; call(data); DONE; }

API cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags) {
    (void)flags;
    *out = calloc(1, sizeof(Event));
    DONE;
}
API cudaError_t cudaEventCreate(cudaEvent_t *out) { return cudaEventCreateWithFlags(out, 0); }
API cudaError_t cudaEventDestroy(cudaEvent_t event) { free(event); DONE; }
API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    (void)stream;
    clock_gettime(CLOCK_MONOTONIC, &((Event *)event)->at);
    DONE;
}
API cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
    (void)flags;
    return cudaEventRecord(event, stream);
}
API cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) {
    struct timespec one = ((Event *)from)->at, two = ((Event *)to)->at;
    *ms = (float)((double)(two.tv_sec - one.tv_sec) * 1e3 + (double)(two.tv_nsec - one.tv_nsec) / 1e6);
    DONE;
}

/* ---- kernels ---- */

typedef struct { dim3 grid, block; size_t shared; cudaStream_t stream; } Launch;
static __thread Launch launches[8];
static __thread int launch_count;

API void **__cudaRegisterFatBinary(void *binary) { (void)binary; static void *handle; return &handle; }
API void __cudaRegisterFatBinaryEnd(void **handle) { (void)handle; }
API void __cudaUnregisterFatBinary(void **handle) { (void)handle; }
API void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int limit, uint3 *thread,
                                uint3 *block, dim3 *size, dim3 *grid, int *warp) {
    (void)handle, (void)host, (void)device, (void)name, (void)limit, (void)thread, (void)block, (void)size, (void)grid, (void)warp;
}
API void __cudaRegisterVar(void **handle, char *host, char *address, const char *name, int ext, size_t size, int constant, int global) {
    (void)handle, (void)host, (void)address, (void)name, (void)ext, (void)size, (void)constant, (void)global;
}
API char __cudaInitModule(void **handle) { (void)handle; return 1; }
API cudaError_t __cudaGetKernel(cudaKernel_t *out, const void *function) { *out = (cudaKernel_t)function; DONE; }
API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **args, size_t shared, cudaStream_t stream) {
    (void)kernel, (void)grid, (void)block, (void)args, (void)shared, (void)stream;
    DONE;
}
API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
    if (launch_count == 8) return 1;
    launches[launch_count++] = (Launch){grid, block, shared, stream};
    return 0;
}
API cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
    if (!launch_count) return failed(cudaErrorMissingConfiguration);
    Launch *one = &launches[--launch_count];
    *grid = one->grid, *block = one->block, *shared = one->shared, *(cudaStream_t *)stream = one->stream;
    DONE;
}
API cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *out, const void *function) {
    (void)function;
    memset(out, 0, sizeof *out);
    out->maxThreadsPerBlock = 1024, out->numRegs = 32, out->ptxVersion = out->binaryVersion = capability();
    out->maxDynamicSharedSizeBytes = 49152;
    DONE;
}
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *function, int size,
                                                                       size_t shared, unsigned flags) {
    (void)function, (void)shared, (void)flags;
    *blocks = size > 0 ? 2048 / size : 1;
    DONE;
}
API cudaError_t cudaGetSymbolAddress(void **out, const void *symbol) {
    static char anything[1 << 16] __attribute__((aligned(512)));
    (void)symbol;
    *out = anything;
    DONE;
}

/* ---- errors, and the driver's functions ---- */

API cudaError_t cudaGetLastError(void) {
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}
API cudaError_t cudaPeekAtLastError(void) { return last_error; }
API const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorNotSupported: return "operation not supported";
    default: return "an error of the stand-in";
    }
}
API const char *cudaGetErrorName(cudaError_t error) {
    return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : error ? "cudaErrorUnknown" : "cudaSuccess";
}
API cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **out, unsigned version, unsigned long long flags,
                                                 enum cudaDriverEntryPointQueryResult *status) {
    char second[128];
    (void)version, (void)flags;
    snprintf(second, sizeof second, "%s_v2", symbol);
    if (!(*out = dlsym(RTLD_DEFAULT, symbol))) *out = dlsym(RTLD_DEFAULT, second);
    if (status) *status = *out ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    DONE;
}
