/* A stand-in for the NVIDIA driver's libnvidia-ml.so.1: devices, processes and faults come from a text file.
 *
 * The file is named by the environment variable FAKE_NVML and is read again whenever it changes, so that a test
 * can change figures, processes and faults while a program watches. `key = value` lines, `#` comments, and sections:
 *
 *     (before any section)  the machine: driver, nvml, cuda, init
 *     [gpu N]               one GPU, N from 0 on
 *     [mig N]               one MIG instance of the GPU above it
 *     [process]             one process on the device above it: pid, memory, name, kind (compute graphics mps), sm
 *
 * A number may be an error's name instead (`fan = not_supported`), or `n/a` for NVML's "value not available".
 * A key that is missing is not supported. In any section `fail.FUNCTION = ERROR` makes one function fail there and
 * `slow.FUNCTION = MILLISECONDS` makes it slow; on a device `state = gpu_is_lost` makes every function fail.
 * Where FAKE_CUDA_LEDGER is set (tests/fake_cuda), the first GPU also holds what that file's processes hold.
 * To make a symbol look absent to dlsym, build with -DFUNCTION=another_name.
 *
 * Layouts and numbers are those of NVIDIA's public nvml.h, as nvidia-ml-py declares them.
 */
#include "description.h"

#include "../fake_cuda/ledger.h"

/* What processes that run over the stand-in for the CUDA runtime hold of the first GPU, where there are any. */
static u64 ledger_sum(const Section *s) {
    u64 sum = 0;
    if (s->kind != 'g' || s->slot || !getenv("FAKE_CUDA_LEDGER")) return 0;
    for (int i = 0; i < LEDGER_SLOTS; i++)
        if (ledger_lives(&ledger_open()[i])) sum += (u64)ledger_open()[i].bytes;
    return sum;
}

/* ---- the library ---- */

static int init(const char *function) {
    LOCKED;
    count(function);
    int code = reload();
    if (!code) code = faults(machine(), function);
    const char *value = find(machine(), "init");
    if (!code && value) code = error_code(value) < 0 ? 0 : error_code(value);
    if (!code) references++;
    return code;
}

API nvmlInit(void) { return init(__func__); }
API nvmlInit_v2(void) { return init(__func__); }
API nvmlInitWithFlags(u32 flags) { (void)flags; return init(__func__); }
API nvmlShutdown(void) { LOCKED; count(__func__); if (!references) return UNINITIALIZED; references--; return 0; }

__attribute__((visibility("default"))) const char *nvmlErrorString(int code) {
    return code >= 0 && (size_t)code < sizeof ERRORS / sizeof *ERRORS ? ERRORS[code] : "unknown";
}

API nvmlSystemGetDriverVersion(char *out, u32 length) { MACHINE; return copy(out, length, find(machine(), "driver")); }
API nvmlSystemGetNVMLVersion(char *out, u32 length) { MACHINE; return copy(out, length, find(machine(), "nvml")); }

static int cuda_version(const char *function, int *out) {
    LOCKED;
    u64 v;
    int code = enter_machine(function);
    if (code || (code = number(machine(), "cuda", &v))) return code;
    *out = (int)v;
    return 0;
}

API nvmlSystemGetCudaDriverVersion(int *out) { return cuda_version(__func__, out); }
API nvmlSystemGetCudaDriverVersion_v2(int *out) { return cuda_version(__func__, out); }

API nvmlSystemGetProcessName(u32 pid, char *out, u32 length) {
    MACHINE;
    for (int i = 1; i < section_count; i++)
        if (sections[i].kind == 'p' && plain(&sections[i], "pid", 0) == pid && find(&sections[i], "name"))
            return copy(out, length, find(&sections[i], "name"));
    return NOT_FOUND;
}

/* ---- finding devices ---- */

static int device_count(const char *function, u32 *out) {
    LOCKED;
    int code = enter_machine(function);
    if (code) return code;
    for (*out = 0; *out < GPUS && slots[*out].section; ) ++*out;
    return 0;
}

API nvmlDeviceGetCount(u32 *out) { return device_count(__func__, out); }
API nvmlDeviceGetCount_v2(u32 *out) { return device_count(__func__, out); }

static int by_index(const char *function, u32 index, Device *out) {
    LOCKED;
    int code = enter_machine(function);
    if (code) return code;
    if (index >= GPUS || !slots[index].section) return INVALID;
    *out = &slots[index];
    return faults(slots[index].section, function);
}

/* The same place on the bus, however its numbers are written. */
static int same_bus(const char *one, const char *other) {
    u32 a[3], b[3];
    return sscanf(one, "%x:%x:%x", &a[0], &a[1], &a[2]) == 3 && sscanf(other, "%x:%x:%x", &b[0], &b[1], &b[2]) == 3 &&
           !memcmp(a, b, sizeof a);
}

static int by_key(const char *function, const char *key, const char *value, Device *out) {
    LOCKED;
    int code = enter_machine(function);
    if (code) return code;
    for (u32 i = 0; i < sizeof slots / sizeof *slots; i++) {
        const char *is = find(slots[i].section, key);
        if (!is || (strcmp(is, value) && !same_bus(is, value))) continue;
        *out = &slots[i];
        return faults(slots[i].section, function);
    }
    return NOT_FOUND;
}

API nvmlDeviceGetHandleByIndex(u32 index, Device *out) { return by_index(__func__, index, out); }
API nvmlDeviceGetHandleByIndex_v2(u32 index, Device *out) { return by_index(__func__, index, out); }
API nvmlDeviceGetHandleByUUID(const char *uuid, Device *out) { return by_key(__func__, "uuid", uuid, out); }
API nvmlDeviceGetHandleByPciBusId(const char *id, Device *out) { return by_key(__func__, "pci_bus_id", id, out); }
API nvmlDeviceGetHandleByPciBusId_v2(const char *id, Device *out) { return by_key(__func__, "pci_bus_id", id, out); }

/* ---- MIG ---- */

static Device instance(const Section *gpu, u32 index) {
    if (gpu->kind != 'g' || index >= INSTANCES) return NULL;
    Device device = &slots[GPUS + gpu->slot * INSTANCES + (int)index];
    return device->section ? device : NULL;
}

API nvmlDeviceGetMigMode(Device device, u32 *now, u32 *pending) { DEVICE; GIVE(now, "mig"); *pending = *now; return 0; }
API nvmlDeviceIsMigDeviceHandle(Device device, u32 *out) { DEVICE; *out = s->kind == 'i'; return 0; }
U32(nvmlDeviceGetGpuInstanceId, "gpu_instance")
U32(nvmlDeviceGetComputeInstanceId, "compute_instance")

API nvmlDeviceGetMaxMigDeviceCount(Device device, u32 *out) {
    DEVICE;
    if (s->kind != 'g') return INVALID;
    *out = find(s, "mig") ? INSTANCES - 1 : 0;
    return 0;
}

API nvmlDeviceGetMigDeviceHandleByIndex(Device device, u32 index, Device *out) {
    DEVICE;
    if (s->kind != 'g') return INVALID;
    *out = instance(s, index);
    return *out ? 0 : NOT_FOUND;
}

API nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device device, Device *out) {
    DEVICE;
    if (s->kind != 'i') return INVALID;
    *out = &slots[(s->slot - GPUS) / INSTANCES];
    return 0;
}

typedef struct { u32 multiprocessors, copy, decoder, encoder, jpeg, ofa, gpu_slices, compute_slices; u64 memory_mb; } Attributes;

static int attributes(const char *function, Device device, Attributes *out) {
    LOCKED;
    Section *s;
    int code = enter(function, device, &s);
    if (code) return code;
    if (s->kind != 'i') return NOT_SUPPORTED;
    *out = (Attributes){.multiprocessors = (u32)plain(s, "sms", 0), .gpu_slices = 1, .compute_slices = 1,
                        .memory_mb = plain(s, "memory_total", 0) >> 20};
    return 0;
}

API nvmlDeviceGetAttributes(Device device, Attributes *out) { return attributes(__func__, device, out); }
API nvmlDeviceGetAttributes_v2(Device device, Attributes *out) { return attributes(__func__, device, out); }

/* ---- what a device is ---- */

TEXT(nvmlDeviceGetName, "name")
TEXT(nvmlDeviceGetUUID, "uuid")
TEXT(nvmlDeviceGetSerial, "serial")
U32(nvmlDeviceGetArchitecture, "architecture")
U32(nvmlDeviceGetBusType, "bus_type")
U32(nvmlDeviceGetNumGpuCores, "cuda_cores")
U32(nvmlDeviceGetMemoryBusWidth, "bus_width")
U32(nvmlDeviceGetPersistenceMode, "persistence")
U32(nvmlDeviceGetComputeMode, "compute_mode")
U32(nvmlDeviceGetDisplayMode, "display_mode")
U32(nvmlDeviceGetDisplayActive, "display_active")
U32(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_generation_max")
U32(nvmlDeviceGetGpuMaxPcieLinkGeneration, "pcie_generation_max")
U32(nvmlDeviceGetMaxPcieLinkWidth, "pcie_width_max")
U32(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_generation")
U32(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
U32(nvmlDeviceGetPowerManagementLimit, "power_limit")
U32(nvmlDeviceGetPowerManagementDefaultLimit, "power_limit")
U32(nvmlDeviceGetEnforcedPowerLimit, "power_limit")
U32_OF(nvmlDeviceGetMaxClockInfo, "max_clock_graphics", "max_clock_sm", "max_clock_memory", "max_clock_video")
U32_OF(nvmlDeviceGetTemperatureThreshold, "temperature_shutdown", "temperature_slowdown", "temperature_memory_max", "temperature_max")

API nvmlDeviceGetIndex(Device device, u32 *out) {
    DEVICE;
    *out = (u32)(s->kind == 'g' ? s->slot : (s->slot - GPUS) % INSTANCES);
    return 0;
}

API nvmlDeviceGetMinorNumber(Device device, u32 *out) { DEVICE; *out = (u32)s->slot; return s->kind == 'g' ? 0 : NOT_SUPPORTED; }

API nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor) {
    DEVICE;
    const char *value = find(s, "compute_capability");
    if (!value) return NOT_SUPPORTED;
    return sscanf(value, "%d.%d", major, minor) == 2 ? 0 : error_code(value);
}

API nvmlDeviceGetPowerManagementLimitConstraints(Device device, u32 *least, u32 *most) {
    DEVICE;
    GIVE(most, "power_limit");
    *least = *most / 2;
    return 0;
}

API nvmlDeviceGetEccMode(Device device, u32 *now, u32 *pending) { DEVICE; GIVE(now, "ecc"); *pending = *now; return 0; }

API nvmlDeviceGetDriverModel(Device device, u32 *now, u32 *pending) { DEVICE; (void)now, (void)pending; return NOT_SUPPORTED; }
API nvmlDeviceGetDriverModel_v2(Device device, u32 *now, u32 *pending) { DEVICE; (void)now, (void)pending; return NOT_SUPPORTED; }

typedef struct { char legacy[16]; u32 domain, bus, device, id, subsystem; char bus_id[32]; } Pci;

static int pci(const char *function, Device device, Pci *out) {
    LOCKED;
    Section *s;
    int code = enter(function, device, &s);
    if (!code && s->kind == 'i') s = slots[(s->slot - GPUS) / INSTANCES].section;
    const char *value = code ? NULL : find(s, "pci_bus_id");
    if (code || !value) return code ? code : NOT_SUPPORTED;
    memset(out, 0, sizeof *out);
    if (sscanf(value, "%x:%x:%x", &out->domain, &out->bus, &out->device) != 3) return error_code(value);
    out->id = (u32)plain(s, "pci_device_id", 0);
    snprintf(out->legacy, sizeof out->legacy, "%04X:%02X:%02X.0", out->domain & 0xffff, out->bus & 0xff, out->device & 0xff);
    snprintf(out->bus_id, sizeof out->bus_id, "%s", value);
    return 0;
}

API nvmlDeviceGetPciInfo(Device device, Pci *out) { return pci(__func__, device, out); }
API nvmlDeviceGetPciInfo_v2(Device device, Pci *out) { return pci(__func__, device, out); }
API nvmlDeviceGetPciInfo_v3(Device device, Pci *out) { return pci(__func__, device, out); }

/* ---- what a device does now ---- */

U32(nvmlDeviceGetFanSpeed, "fan")
U32(nvmlDeviceGetNumFans, "fans")
U32(nvmlDeviceGetPowerUsage, "power")
U32(nvmlDeviceGetPerformanceState, "performance_state")
U64(nvmlDeviceGetCurrentClocksThrottleReasons, "throttle")
U64(nvmlDeviceGetCurrentClocksEventReasons, "throttle")
U32_OF(nvmlDeviceGetClockInfo, "clock_graphics", "clock_sm", "clock_memory", "clock_video")
U32_OF(nvmlDeviceGetPcieThroughput, "pcie_tx", "pcie_rx")
U32_OF(nvmlDeviceGetTemperature, "temperature")

API nvmlDeviceGetFanSpeed_v2(Device device, u32 fan, u32 *out) {
    DEVICE;
    if (fan >= plain(s, "fans", 0)) return INVALID;
    GIVE(out, "fan");
    return 0;
}

typedef struct { u32 version, sensor; int temperature; } Temperature;

API nvmlDeviceGetTemperatureV(Device device, Temperature *out) {
    DEVICE;
    if (out->version != 0x100000C) return VERSION;
    GIVE(&out->temperature, "temperature");
    return 0;
}

typedef struct { u32 gpu, memory; } Utilization;

API nvmlDeviceGetUtilizationRates(Device device, Utilization *out) {
    DEVICE;
    GIVE(&out->gpu, "utilization");
    GIVE(&out->memory, "memory_utilization");
    return 0;
}

static int coder(const char *function, const char *key, Device device, u32 *out, u32 *period) {
    LOCKED;
    Section *s;
    int code = enter(function, device, &s);
    if (code) return code;
    GIVE(out, key);
    *period = 167000;
    return 0;
}

API nvmlDeviceGetEncoderUtilization(Device device, u32 *out, u32 *period) { return coder(__func__, "encoder", device, out, period); }
API nvmlDeviceGetDecoderUtilization(Device device, u32 *out, u32 *period) { return coder(__func__, "decoder", device, out, period); }

API nvmlDeviceGetTotalEccErrors(Device device, u32 type, u32 counter, u64 *out) {
    DEVICE;
    (void)type, (void)counter;
    if (!plain(s, "ecc", 0)) return NOT_SUPPORTED;
    *out = plain(s, "ecc_errors", 0);
    return 0;
}

typedef struct { u64 total, free, used; } Memory;
typedef struct { u32 version; u64 total, reserved, free, used; } Memory2;

/* The first version of the call counts the driver's reserve as used; the second tells it apart. */
API nvmlDeviceGetMemoryInfo(Device device, Memory *out) {
    DEVICE;
    GIVE(&out->total, "memory_total");
    GIVE(&out->free, "memory_free");
    if (out->free != NA) out->free -= ledger_sum(s);
    out->used = out->total == NA ? NA : out->total - out->free;
    return 0;
}

API nvmlDeviceGetMemoryInfo_v2(Device device, Memory2 *out) {
    DEVICE;
    if (out->version != 0x02000028) return VERSION;
    GIVE(&out->total, "memory_total");
    GIVE(&out->reserved, "memory_reserved");
    GIVE(&out->free, "memory_free");
    GIVE(&out->used, "memory_used");
    u64 more = ledger_sum(s);
    if (out->free != NA) out->free -= more;
    if (out->used != NA) out->used += more;
    return 0;
}

API nvmlDeviceGetBAR1MemoryInfo(Device device, Memory *out) {
    DEVICE;
    GIVE(&out->total, "bar1_total");
    out->used = plain(s, "bar1_used", 0);
    out->free = out->total - out->used;
    return 0;
}

typedef struct { u64 protected_kib, unprotected_kib; } Confidential;
API nvmlDeviceGetConfComputeMemSizeInfo(Device device, Confidential *out) { DEVICE; (void)out; return NOT_SUPPORTED; }

typedef union { double d; u64 u; } Value;
typedef struct { u32 field, scope; long long at, latency; u32 type; int code; Value value; } Field;

API nvmlDeviceGetFieldValues(Device device, int length, Field *fields) {
    DEVICE;
    for (int i = 0; i < length; i++) fields[i].code = NOT_SUPPORTED;
    return 0;
}

API nvmlDeviceGetNvLinkState(Device device, u32 link, u32 *out) { DEVICE; (void)link, (void)out; return NOT_SUPPORTED; }
API nvmlDeviceGetNvLinkRemoteDeviceType(Device device, u32 link, u32 *out) { DEVICE; (void)link, (void)out; return NOT_SUPPORTED; }
API nvmlDeviceGetNvLinkRemotePciInfo_v2(Device device, u32 link, void *out) { DEVICE; (void)link, (void)out; return NOT_SUPPORTED; }

typedef struct { u32 version; unsigned char cluster[16]; int status; u32 clique; unsigned char state; u32 health; } Fabric;

/* Asked, it says that it is on none. */
API nvmlDeviceGetGpuFabricInfoV(Device device, Fabric *out) {
    DEVICE;
    *out = (Fabric){.version = out->version};
    return 0;
}

API nvmlDeviceGetNvLinkVersion(Device device, u32 link, u32 *out) { DEVICE; (void)link, (void)out; return NOT_SUPPORTED; }

/* ---- who is on a device ---- */

typedef struct { u32 pid; u64 memory; } Process1;
typedef struct { u32 pid; u64 memory; u32 gpu_instance, compute_instance; } Process2;

static int is_on(const Section *process, const Section *device) {
    if (process->kind != 'p') return 0;
    return process->slot == device->slot || (device->kind == 'g' && process->slot >= GPUS && (process->slot - GPUS) / INSTANCES == device->slot);
}

static int is_a(const Section *process, const char *kind) {
    const char *kinds = find(process, "kind");
    return strstr(kinds ? kinds : "compute", kind) != NULL;
}

static Process2 process_of(const Section *p) {
    const Section *at = p->slot >= GPUS ? slots[p->slot].section : NULL;
    return (Process2){(u32)plain(p, "pid", 0), plain(p, "memory", NA), (u32)plain(at, "gpu_instance", 0xffffffff),
                      (u32)plain(at, "compute_instance", 0xffffffff)};
}

static void tell(Process2 process, int version, u32 at, u32 room, void *out) {
    if (!out || at >= room) return;
    if (version == 1) ((Process1 *)out)[at] = (Process1){process.pid, process.memory};
    else ((Process2 *)out)[at] = process;
}

static int processes(const char *function, const char *kind, int version, Device device, u32 *room, void *out) {
    LOCKED;
    Section *s;
    u32 found = 0;
    int code = enter(function, device, &s);
    if (code) return code;
    for (int i = 1; i < section_count; i++) {
        if (!is_on(&sections[i], s) || !is_a(&sections[i], kind)) continue;
        tell(process_of(&sections[i]), version, found++, *room, out);
    }
    for (int i = 0; i < LEDGER_SLOTS && ledger_sum(s) && !strcmp(kind, "compute"); i++) {
        LedgerSlot *one = &ledger_open()[i];
        if (ledger_lives(one)) tell((Process2){(u32)one->pid, (u64)one->bytes, ~0u, ~0u}, version, found++, *room, out);
    }
    code = found > *room ? TOO_SMALL : 0;
    *room = found;
    return code;
}

#define PROCESSES(name, kind, version) API name(Device device, u32 *count_, void *out) { return processes(__func__, kind, version, device, count_, out); }
PROCESSES(nvmlDeviceGetComputeRunningProcesses, "compute", 1)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, "compute", 2)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, "compute", 3)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, "graphics", 1)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, "graphics", 2)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics", 3)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses, "mps", 1)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2, "mps", 2)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, "mps", 3)

typedef struct { u32 pid; u64 at; u32 sm, memory, encoder, decoder; } Use;

API nvmlDeviceGetProcessUtilization(Device device, Use *out, u32 *room, u64 since) {
    DEVICE;
    u32 found = 0;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    u64 at = (u64)now.tv_sec * 1000000 + (u64)now.tv_nsec / 1000;
    for (int i = 1; i < section_count; i++) {
        if (!is_on(&sections[i], s) || !find(&sections[i], "sm") || at <= since) continue;
        if (out && found < *room)
            out[found] = (Use){(u32)plain(&sections[i], "pid", 0), at, (u32)plain(&sections[i], "sm", 0), (u32)plain(&sections[i], "memory_sm", 0), 0, 0};
        found++;
    }
    int small = found > *room || !out;
    *room = found;
    return found ? (small ? TOO_SMALL : 0) : NOT_FOUND;
}
